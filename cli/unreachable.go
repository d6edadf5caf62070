package cli

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"

	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/dcs"
)

// unreadable is the error of a command that found nobody to tell it of the
// cluster: who was asked, why each failed, and what to look at.
func (x *access) unreadable(members []error, store error) error {
	lines := []string{"the cluster cannot be read:"}
	silent := false
	for _, err := range members {
		text, unanswered := unanswered(err)
		silent = silent || unanswered
		lines = append(lines, text)
	}
	stored := x.app.opts.OpenStore != nil && x.file != nil && x.file.Store.Kind != ""
	text := store.Error()
	if stored {
		text = x.file.Store.Kind + ": " + dcs.Brief(store)
		silent = silent || errors.Is(store, dcs.ErrUnavailable)
	}
	text = strings.Join(append(lines, text), "\n  ")
	switch {
	case silent && stored:
		text += "\nAre agents and store up, and are these their addresses? They come from restapi.connect_address and\n" +
			"the section " + x.file.Store.Kind + " of the configuration; --api names another member."
	case silent:
		text += "\nIs the agent up, and is this its address? --api names another member."
	}
	return errors.New(text)
}

// unanswered tells briefly why a member gave no usable answer, and whether it
// gave none at all.
func unanswered(err error) (text string, silent bool) {
	var asked *client.Error
	if errors.As(err, &asked) && asked.Code == 0 {
		return asked.Op + ": " + cause(asked.Err), true
	}
	return err.Error(), false
}

// briefly is the text of unanswered alone.
func briefly(err error) string {
	text, _ := unanswered(err)
	return text
}

// cause is the system's word for an error of the network, whose own text
// repeats the address.
func cause(err error) string {
	var no syscall.Errno
	var name *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &no):
		return no.Error()
	case errors.As(err, &name):
		return name.Err
	}
	return err.Error()
}
