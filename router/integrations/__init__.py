"""The outbox of deliveries and who receives them: webhooks, analytics, CRMs."""
