package postgres

import "testing"

// TestWritable: what another server says of itself.
func TestWritable(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	p := l.primary(ctx, "p")
	c := l.replica(ctx, "c", p)
	want := func(of *Server, writable bool) {
		t.Helper()
		if w, err := p.Writable(ctx, of.source()); err != nil || w != writable {
			t.Errorf("%s: writable %t, %v; want %t", of.opt.Name, w, err, writable)
		}
	}
	want(p, true)
	want(c, false)
	_, err := c.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
	want(c, false)
	p.SetRoles(Roles{Superuser: Credentials{Username: "postgres", Password: "wrong"}})
	if _, err := p.Writable(ctx, p.source()); err == nil {
		t.Error("a server that does not let us in is taken at its silence")
	}
}
