"""psycopg 3: LEADER REPLICA ENTRYPOINT are ports on this host."""
import sys
import time

import psycopg
from psycopg import errors

leader, replica, entrypoint = sys.argv[1:4]


def at(port):
    c = psycopg.connect(host="127.0.0.1", port=port, user="postgres", password="postgres", dbname="postgres")
    c.autocommit = True
    return c.cursor()


def rows(cursor):
    cursor.execute("SELECT count(*) FROM by_psycopg3")
    return cursor.fetchone()[0]


at(entrypoint).execute("CREATE TABLE by_psycopg3 (id int PRIMARY KEY)")
at(entrypoint).execute("INSERT INTO by_psycopg3 VALUES (%s)", (1,))
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
    copy.execute("INSERT INTO by_psycopg3 VALUES (2)")
except errors.ReadOnlySqlTransaction as e:
    print("psycopg 3: the row is on both; the replica says:", str(e).strip())
else:
    sys.exit("the replica took a row")
