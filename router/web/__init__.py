"""What every page and API shares: access, errors, forms, layout, filters, charts."""
