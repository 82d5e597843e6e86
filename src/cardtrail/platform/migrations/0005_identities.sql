-- Who an account is at a provider of OpenID Connect, its `iss` and `sub`; an empty `password` fits none.
ALTER TABLE account ADD COLUMN provider TEXT;
ALTER TABLE account ADD COLUMN subject TEXT;
CREATE UNIQUE INDEX account_identity ON account (provider, subject);
