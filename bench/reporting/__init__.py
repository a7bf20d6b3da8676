"""Judgements -> what people read: page, plots, tables, gallery."""
