"""Examination: fires cases at somebody's receiver of notifications, and grades what it does. Contract section 7."""
