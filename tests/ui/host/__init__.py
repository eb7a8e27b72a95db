"""An application with looks and rules of its own, in which the pages have to hold their own."""
