package explain

import "io"

func (s Story) HTML(w io.Writer, o HTMLOptions) error     { return nil }
func (a Answer) HTML(w io.Writer, o HTMLOptions) error    { return nil }
func (n *NoChange) HTML(w io.Writer, o HTMLOptions) error { return nil }
