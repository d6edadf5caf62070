package proxy

import (
	"encoding/csv"
	"io"
	"math"
	"strconv"
	"strings"
)

// haproxyColumns are the columns of HAProxy's statistics that have a meaning for a
// port that forwards TCP, in HAProxy's own order and under its names (management
// guide, 9.1): programs that read them go by either. What lies between is empty.
const haproxyColumns = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck," +
	"chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code," +
	"check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt," +
	"comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,agent_duration," +
	"check_desc,agent_desc,check_rise,check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,conn_rate," +
	"conn_rate_max,conn_tot,intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,qtime_max,ctime_max," +
	"rtime_max,ttime_max"

// The kinds of rows, as HAProxy numbers them.
const (
	rowFrontend = 0
	rowBackend  = 1
	rowServer   = 2
)

// csvRow is one row by the names of its columns.
type csvRow map[string]string

func (r csvRow) number(column string, n int64) { r[column] = strconv.FormatInt(n, 10) }

// whole is a duration, or another number that HAProxy gives without its fraction.
func (r csvRow) whole(column string, n float64) { r.number(column, int64(math.Round(n))) }

// WriteCSV writes the numbers as HAProxy does: for each port a frontend, each member
// as a server, and a backend. A member that the port does not use is DOWN, and the
// reason is where HAProxy has the result of its last check.
func (s Stats) WriteCSV(w io.Writer) error {
	columns := strings.Split(haproxyColumns, ",")
	out := csv.NewWriter(w)
	if err := out.Write(append(columns, "")); err != nil {
		return err
	}
	var rows []csvRow
	for i, p := range s.Ports {
		rows = append(rows, p.csv(i+1, s.Backends)...)
	}
	for _, r := range rows {
		line := make([]string, len(columns)+1)
		for i, name := range columns {
			line[i] = r[strings.TrimPrefix(name, "# ")]
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func (p PortStats) csv(id int, members []BackendStats) []csvRow {
	front, back := p.frontend(id), csvRow{"pxname": p.Port, "svname": "BACKEND", "mode": "tcp", "status": "DOWN", "pid": "1"}
	rows := []csvRow{front}
	back.number("iid", int64(id))
	back.number("type", rowBackend)
	var sum MemberStats
	var active, spare int64
	for i, m := range p.Members {
		rows = append(rows, m.server(p.Port, id, i+1, memberNamed(members, m.Member)))
		sum.Sessions.Now += m.Sessions.Now
		sum.Served += m.Served
		sum.Failed += m.Failed
		sum.ToServer += m.ToServer
		sum.ToClient += m.ToClient
		switch {
		case m.In && m.Spare:
			spare++
		case m.In:
			active++
		}
	}
	if p.Serving {
		back["status"] = "UP"
	}
	back.whole("lastchg", p.Since)
	back.whole("downtime", p.OutFor)
	front.number("bin", sum.ToServer)
	front.number("bout", sum.ToClient)
	for column, n := range map[string]int64{"qcur": p.Held.Now, "qmax": p.Held.Most, "scur": sum.Sessions.Now + p.Held.Now, "smax": p.Clients.Most,
		"stot": sum.Served, "lbtot": sum.Served, "bin": sum.ToServer, "bout": sum.ToClient, "econ": sum.Failed + p.Refused, "eresp": p.Terminated, "chkdown": p.Falls,
		"act": active, "bck": spare, "weight": active + spare, "rate": p.Rate.Now, "rate_max": p.Rate.Most} {
		back.number(column, n)
	}
	back.whole("qtime", p.Hold.Mean)
	back.whole("qtime_max", p.Hold.Longest)
	back["algo"] = "leastconn"
	return append(rows, back)
}

func (p PortStats) frontend(id int) csvRow {
	r := csvRow{"pxname": p.Port, "svname": "FRONTEND", "status": "OPEN", "pid": "1", "mode": "tcp", "addr": p.Address}
	for column, n := range map[string]int64{"scur": p.Clients.Now, "smax": p.Clients.Most, "stot": p.Accepted, "conn_tot": p.Accepted,
		"dreq": 0, "ereq": p.Malformed, "iid": int64(id), "sid": 0, "type": rowFrontend,
		"rate": p.Rate.Now, "rate_max": p.Rate.Most, "conn_rate": p.Rate.Now, "conn_rate_max": p.Rate.Most} {
		r.number(column, n)
	}
	return r
}

func (m MemberStats) server(port string, id, number int, b BackendStats) csvRow {
	r := csvRow{"pxname": port, "svname": m.Member, "status": "DOWN", "check_status": "L7STS", "check_code": "503",
		"pid": "1", "weight": "1", "mode": "tcp", "addr": b.Address, "last_chk": m.Why}
	switch {
	case m.In:
		r["status"], r["check_status"], r["check_code"] = "UP", "L7OK", "200"
	case b.Failure != "":
		r["check_status"], r["check_code"] = "L4CON", ""
	}
	act, bck := int64(1), int64(0)
	if m.Spare {
		act, bck = 0, 1
	}
	for column, n := range map[string]int64{"qcur": 0, "qmax": 0, "scur": m.Sessions.Now, "smax": m.Sessions.Most, "stot": m.Served, "lbtot": m.Served,
		"bin": m.ToServer, "bout": m.ToClient, "econ": m.Failed, "act": act, "bck": bck, "chkfail": b.Failures, "chkdown": m.Falls,
		"iid": int64(id), "sid": int64(number), "type": rowServer, "rate": m.Rate.Now, "rate_max": m.Rate.Most} {
		r.number(column, n)
	}
	r.whole("lastchg", m.Since)
	r.whole("downtime", m.OutFor)
	r.whole("ctime", m.Connect.Mean)
	r.whole("ctime_max", m.Connect.Longest)
	r.whole("ttime", m.Lasted.Mean)
	r.whole("ttime_max", m.Lasted.Longest)
	return r
}

func memberNamed(members []BackendStats, name string) BackendStats {
	for _, b := range members {
		if b.Member == name {
			return b
		}
	}
	return BackendStats{Member: name}
}
