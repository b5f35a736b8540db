"""The commands of `huika`, one module each; heavy imports happen inside the functions."""
