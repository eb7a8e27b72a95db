"""Small applications in the manner of strangers, which know nothing of what the library's own tests do."""
