"""What a web page tells: page views, visits, visitors, consent, and where they come from."""
