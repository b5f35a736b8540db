"""From files to registered models: import, validate, features, fit, evaluate, register, promote."""
