"""Who rents numbers and delivers calls: Twilio, or the built-in simulator."""
