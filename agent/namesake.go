package agent

import (
	"context"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
)

// askNamesake is how often another agent of this name is asked whether it is
// still there.
const askNamesake = 10 * time.Second

// sibling is another agent that bears this member's name.
type sibling struct {
	mu    sync.Mutex
	url   string
	asked boot.Instant
}

func (s *sibling) address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// namesake: somebody wrote over this member's key: two agents bear one name,
// and started too close together to see each other. The leader's word stands;
// this one keeps still until the other's key is gone.
func (a *Agent) namesake(other cluster.Member, leads bool) {
	a.sibling.mu.Lock()
	fresh := a.sibling.url != other.APIURL
	if fresh {
		a.sibling.url, a.sibling.asked = other.APIURL, a.opt.Clock.Now()
	}
	a.sibling.mu.Unlock()
	if !fresh {
		return
	}
	a.Wake() // what is decided next says so
	if leads {
		a.log.Error("another agent of this name already runs in the cluster: two must not share a name; this one leads and goes on, give the other another name",
			"other", other.APIURL, "here", a.opt.APIURL)
		return
	}
	a.log.Error("another agent of this name already runs in the cluster: two must not share a name; this one stays out until it is given another, or the other is stopped",
		"other", other.APIURL, "here", a.opt.APIURL)
}

// forgetNamesake asks another agent of this name, now and then, whether it is
// still there: what is told of it must end when it does.
func (a *Agent) forgetNamesake(ctx context.Context) {
	s := &a.sibling
	now := a.opt.Clock.Now()
	s.mu.Lock()
	url, due := s.url, now.Sub(s.asked) >= askNamesake
	if due {
		s.asked = now
	}
	s.mu.Unlock()
	if url == "" || !due || a.opt.Peers == nil {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(ctx, peerTimeout)
		defer cancel()
		a.askSibling(ctx, url)
	}()
}

func (a *Agent) askSibling(ctx context.Context, url string) {
	if Alive(ctx, a.opt.Peers, cluster.Member{Name: a.opt.Name, APIURL: url}) {
		return
	}
	s := &a.sibling
	s.mu.Lock()
	if s.url == url {
		s.url = ""
	}
	s.mu.Unlock()
	a.log.Info("the other agent of this name does not answer any more", "other", url)
	a.Wake()
}
