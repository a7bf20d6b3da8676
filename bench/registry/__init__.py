"""Names -> things, loaded on use: methods, model families, metrics; plug-ins add theirs."""
