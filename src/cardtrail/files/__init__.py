"""What is kept in files beside a database: written whole or not at all, and the key that seals secrets."""
