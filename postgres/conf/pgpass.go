package conf

import "strings"

// PgPass writes the lines of a password file for one target: a line for each
// host of a comma list, and one for localhost where the host is a socket
// directory, because libpq looks that up under this name.
func PgPass(hosts, ports, user string, password Secret) string {
	var b strings.Builder
	portList := strings.Split(ports, ",")
	for i, h := range strings.Split(hosts, ",") {
		port := portList[min(i, len(portList)-1)]
		b.WriteString(passLine(h, port, user, password))
		if strings.HasPrefix(h, "/") {
			b.WriteString(passLine("localhost", port, user, password))
		}
	}
	return b.String()
}

func passLine(host, port, user string, password Secret) string {
	fields := []string{passField(host), passField(port), "*", passField(user), escapePass(password.Reveal())}
	return strings.Join(fields, ":") + "\n"
}

func passField(v string) string {
	if v == "" {
		return "*"
	}
	return escapePass(v)
}

func escapePass(v string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, "\n", "", "\r", "").Replace(v)
}
