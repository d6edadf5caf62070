// Package walfile reads PostgreSQL's log from its segment files: where the last
// valid record ends, which checksum the first record of a timeline bears, which
// histories a directory holds.
//
// It reads only, never writes, and believes nothing that a checksum, a page
// header or a link to the previous record contradicts: segments are recycled,
// so old bytes follow the end of the log. The format it relies on (page and
// record headers) is the same in PostgreSQL 13 to 18.
//
// Begin with Reader.Next.
package walfile
