"""The tables of the desk, and by which index items in each state are found."""

__all__ = ["APPLICATION_ID", "COUNTS", "TABLES", "VERSION", "WHERE"]

APPLICATION_ID = 0x4361746B  # "Catk"
VERSION = 1

TABLES = """
CREATE TABLE queues (
    queue INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, settings TEXT NOT NULL, round INTEGER NOT NULL,
    finish INTEGER NOT NULL DEFAULT 0, waiting INTEGER NOT NULL DEFAULT 0, labelled INTEGER NOT NULL DEFAULT 0);
CREATE TABLE items (
    item INTEGER PRIMARY KEY, queue INTEGER NOT NULL, key BLOB NOT NULL, row INTEGER NOT NULL, id TEXT NOT NULL,
    needs INTEGER NOT NULL, round INTEGER NOT NULL, open INTEGER NOT NULL DEFAULT 1, got INTEGER NOT NULL DEFAULT 0,
    first TEXT NOT NULL DEFAULT '', changed INTEGER NOT NULL DEFAULT 0, taken INTEGER);
CREATE UNIQUE INDEX items_by_key ON items (queue, key);
CREATE INDEX items_by_id ON items (queue, id);
CREATE INDEX fresh ON items (queue, item) WHERE open AND got = 0;
CREATE INDEX begun ON items (queue, first, item) WHERE open AND got > 0 AND got < needs;
CREATE INDEX ready ON items (queue, item) WHERE open AND taken IS NULL AND got >= needs;
CREATE INDEX untaken ON items (queue, item) WHERE open AND taken IS NULL;
CREATE INDEX several ON items (queue, item) WHERE got > 1;
CREATE INDEX revised ON items (queue, item) WHERE taken IS NOT NULL AND changed > taken;
CREATE TABLE marks (
    mark INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL, annotator TEXT NOT NULL, label TEXT,
    note TEXT NOT NULL, at REAL NOT NULL, seconds REAL NOT NULL, how TEXT NOT NULL, live INTEGER NOT NULL DEFAULT 1,
    crc INTEGER NOT NULL);
CREATE UNIQUE INDEX live_marks ON marks (item, annotator) WHERE live;
CREATE INDEX marks_by_item ON marks (item, annotator, mark);
CREATE INDEX marks_by_annotator ON marks (annotator, mark) WHERE live;
CREATE TABLE claims (
    item INTEGER NOT NULL, annotator TEXT NOT NULL, since REAL NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (item, annotator)) WITHOUT ROWID;
CREATE TABLE annotators (
    queue INTEGER NOT NULL, annotator TEXT NOT NULL, given INTEGER NOT NULL, PRIMARY KEY (queue, annotator)
    ) WITHOUT ROWID;
CREATE INDEX claims_by_annotator ON claims (annotator);
"""

COUNTS = (
    """
CREATE TRIGGER counted AFTER INSERT ON items BEGIN
    UPDATE queues SET waiting = waiting + (NEW.open AND NEW.got < NEW.needs), labelled = labelled + (NEW.got >= NEW.needs)
    WHERE queue = NEW.queue;
END
""",
    """
CREATE TRIGGER recounted AFTER UPDATE OF open, got, needs ON items BEGIN
    UPDATE queues SET
        waiting = waiting + (NEW.open AND NEW.got < NEW.needs) - (OLD.open AND OLD.got < OLD.needs),
        labelled = labelled + (NEW.got >= NEW.needs) - (OLD.got >= OLD.needs)
    WHERE queue = NEW.queue;
END
""",
)
"""Counts are kept, since a million items take longer to count than the next one may take to come."""


WHERE = {
    "fresh": "INDEXED BY fresh WHERE open AND got = 0",
    "begun": "INDEXED BY begun WHERE open AND got > 0 AND got < needs",
    "ready": "INDEXED BY ready WHERE open AND taken IS NULL AND got >= needs",
    "untaken": "INDEXED BY untaken WHERE open AND taken IS NULL",
    "several": "INDEXED BY several WHERE got > 1",
    "revised": "INDEXED BY revised WHERE taken IS NOT NULL AND changed > taken",
}
"""Items in each state, found by their own index however many others there are."""
