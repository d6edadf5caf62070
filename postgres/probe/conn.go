package probe

// Conn is one connection.
type Conn struct{}
