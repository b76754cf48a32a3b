"""Revisions of the schema. A revision is never changed once released: it spells its tables out and imports none of ours."""
