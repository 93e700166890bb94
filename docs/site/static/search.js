// An excerpt of each result is read from its page, which browsers refuse where the site is opened as files.
DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = location.protocol !== "file:";
