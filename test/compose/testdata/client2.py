"""psycopg2: LEADER REPLICA ENTRYPOINT are ports on this host."""
import sys
import time

import psycopg2
from psycopg2 import errors

leader, replica, entrypoint = sys.argv[1:4]


def at(port):
    c = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", password="postgres", dbname="postgres")
    c.autocommit = True
    return c.cursor()


def rows(cursor):
    cursor.execute("SELECT count(*) FROM by_psycopg2")
    return cursor.fetchone()[0]


at(entrypoint).execute("CREATE TABLE by_psycopg2 (id int PRIMARY KEY); INSERT INTO by_psycopg2 VALUES (1)")
assert rows(at(leader)) == 1
copy = at(replica)
for _ in range(100):
    try:
        if rows(copy) == 1:
            break
    except errors.UndefinedTable:
        pass
    time.sleep(0.1)
assert rows(copy) == 1
try:
    copy.execute("INSERT INTO by_psycopg2 VALUES (2)")
except errors.ReadOnlySqlTransaction as e:
    print("psycopg2: the row is on both; the replica says:", str(e).strip())
else:
    sys.exit("the replica took a row")
