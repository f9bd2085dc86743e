"""What people read: overview, call log, receipts."""
