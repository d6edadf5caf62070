package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yml", "testdata/bad/*.yml"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data))
		}
	}
	f.Add("a: &a [*a]\n")
	f.Add("x: &x {<<: *x}\n")
	f.Add("? [a]\n: b\n")
	f.Fuzz(func(t *testing.T, body string) {
		if strings.ContainsRune(body, 0) || body == "" {
			return
		}
		file, _, err := Load("", []string{"MATRIARCH_CONFIGURATION=" + body})
		if (file == nil) == (err == nil) {
			t.Fatal("a configuration and an error, or neither")
		}
		if err != nil {
			if _, ok := err.(Problems); !ok {
				t.Fatalf("error of type %T", err)
			}
			return
		}
		if !json.Valid([]byte(file.Raw.JSON(true))) {
			t.Fatalf("not JSON: %s", file.Raw.JSON(true))
		}
		if dcs := file.BootstrapDCS(); dcs != "" {
			if _, _, err := ParseDynamic(dcs); err != nil {
				t.Fatalf("accepted in bootstrap.dcs, rejected as dynamic: %v", err)
			}
		}
		MakeEffective(file, DefaultDynamic(), "replica", 15)
		_ = file.Check(ForValidate)
	})
}

func FuzzParseDynamic(f *testing.F) {
	f.Add(`{"ttl":30,"loop_wait":10,"retry_timeout":10,"postgresql":{"parameters":{"max_connections":200,"wal_keep_size":"128MB"},"pg_hba":["x"]}}`)
	f.Add(`{"synchronous_mode":"quorum"}`)
	f.Add(`{"ttl":1e99}`)
	f.Fuzz(func(t *testing.T, doc string) {
		d, _, err := ParseDynamic(doc)
		if err != nil {
			return
		}
		if s := d.Settings; s.LoopWait+2*s.RetryTimeout > s.TTL || s.PrimaryStartTimeout < 0 || s.SlotsTTL < 0 || s.MaxHistory < 0 {
			t.Fatalf("%+v", s)
		}
		e := MakeEffective(&File{}, d, "primary", 15)
		if len(e.Controlled) != 13 {
			t.Fatalf("%v", e.Controlled)
		}
		again, _, err := ParseDynamic(d.Raw.JSON(true))
		if err != nil || again.Settings != d.Settings {
			t.Fatalf("read again: %v %v", again.Settings, err)
		}
	})
}

func FuzzPatch(f *testing.F) {
	f.Add(`{"a":{"b":1}}`, `{"a":{"b":null,"c":[{"d":null}]}}`)
	f.Add(`{"é":"\ud800"}`, `{"a":1.0e5}`)
	f.Fuzz(func(t *testing.T, old, patch string) {
		once, _, err := Patch(old, patch)
		if err != nil {
			return
		}
		if !json.Valid([]byte(once)) {
			t.Fatalf("not JSON: %s", once)
		}
		twice, changed, err := Patch(once, patch)
		if err != nil || changed || twice != once {
			t.Fatalf("%s then %s, %v, %v", once, twice, changed, err)
		}
	})
}

func FuzzUnits(f *testing.F) {
	for _, s := range []string{"30s", "0x1FMB", "1.5e3", "010", "-7 min", "8kB"} {
		f.Add(s, "s")
		f.Add(s, "B")
	}
	f.Fuzz(func(t *testing.T, s, base string) {
		n, err := ParseInt(s, base)
		if err == nil && base == "" {
			if again, err := ParseInt(itoa(int(n)), ""); err != nil || again != n {
				t.Fatalf("%d then %d, %v", n, again, err)
			}
		}
		_, _ = ParseDuration(s)
		_, _ = ParseBool(s)
	})
}
