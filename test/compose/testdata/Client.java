import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

/** JDBC: LEADER REPLICA ENTRYPOINT are ports on this host. */
class Client {
	static Connection at(String port) throws SQLException {
		return DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + port + "/postgres", "postgres", "postgres");
	}

	static int rows(Connection c) throws SQLException {
		try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT count(*) FROM by_jdbc")) {
			r.next();
			return r.getInt(1);
		}
	}

	static void expect(boolean holds, String what) {
		if (!holds) {
			throw new IllegalStateException("not so: " + what);
		}
	}

	public static void main(String[] port) throws Exception {
		try (Connection entrypoint = at(port[2]); Statement s = entrypoint.createStatement()) {
			s.execute("CREATE TABLE by_jdbc (id int PRIMARY KEY)");
			s.execute("INSERT INTO by_jdbc VALUES (1)");
		}
		try (Connection leader = at(port[0])) {
			expect(rows(leader) == 1, "the row is on the leader");
		}
		// The driver itself chooses who is a primary among several addresses.
		String both = "jdbc:postgresql://127.0.0.1:" + port[1] + ",127.0.0.1:" + port[0] + "/postgres?targetServerType=primary";
		try (Connection primary = DriverManager.getConnection(both, "postgres", "postgres")) {
			expect(!primary.isReadOnly() && rows(primary) == 1, "targetServerType=primary finds the leader");
		}
		try (Connection replica = at(port[1])) {
			for (int i = 0; i < 100; i++) {
				try {
					if (rows(replica) == 1) {
						break;
					}
				} catch (SQLException e) {
					expect("42P01".equals(e.getSQLState()), "only the table may be missing: " + e.getMessage());
				}
				Thread.sleep(100);
			}
			expect(rows(replica) == 1, "the row is on the replica");
			try (Statement s = replica.createStatement()) {
				s.execute("INSERT INTO by_jdbc VALUES (2)");
				expect(false, "the replica refuses a row");
			} catch (SQLException e) {
				expect("25006".equals(e.getSQLState()), e.getMessage());
				System.out.println("JDBC: the row is on both; the replica says: " + e.getMessage());
			}
		}
	}
}
