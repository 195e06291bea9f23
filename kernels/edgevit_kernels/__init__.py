"""The operators of edgevit, one folder an operator, all its implementations side by side."""
