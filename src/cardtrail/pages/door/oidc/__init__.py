"""The log-in by a provider of OpenID Connect: it says who somebody is, an account of ours what they may do.

`flow` sends a browser to the provider and takes it back, `provider` asks the provider, `fetch` is how, `kept` what is
not asked twice, `idtoken` what is believed of an answer, and `registration` what both sides have agreed on before.
"""
