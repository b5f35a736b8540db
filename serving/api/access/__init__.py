"""Who may ask the HTTP service for what: keys, tokens, roles, limits, the audit trail."""
