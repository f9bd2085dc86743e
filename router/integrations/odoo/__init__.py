"""Odoo as a CRM."""
