"""What a user can set, and what the rest needs of its surroundings: errors that say what to mend,
choices by name from a table, fields of configurations, progress bars, the project's own files."""

from options.project import require_unhidden

# Here, since most modules import from this package, and before others of the project.
require_unhidden()
