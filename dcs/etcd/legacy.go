package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/matriarch-ha/matriarch/dcs"
)

// LegacyV2InUse reports whether the servers hold the cluster's prefix under
// etcd's old v2 API. The two APIs do not see each other's keys, so a member that
// used v3 beside members on v2 would be a second cluster. Servers that do not
// offer v2 hold nothing there. An error means that no server could be asked.
func LegacyV2InUse(ctx context.Context, cfg Config) (bool, error) {
	if err := cfg.check(); err != nil {
		return false, err
	}
	transport := &http.Transport{TLSClientConfig: cfg.TLS}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var errs []error
	for _, ep := range cfg.Endpoints {
		used, err := legacyAt(ctx, client, ep, cfg)
		if err == nil {
			return used, nil
		}
		errs = append(errs, err)
	}
	return false, fmt.Errorf("etcd: ask for v2 keys: %w: %w", dcs.ErrUnavailable, errors.Join(errs...))
}

func legacyAt(ctx context.Context, client *http.Client, ep string, cfg Config) (bool, error) {
	addr, useTLS, err := splitEndpoint(ep, cfg.TLS != nil)
	if err != nil {
		return false, err
	}
	scheme := "http"
	if useTLS {
		scheme = "https"
	}
	ctx, cancel := context.WithTimeout(ctx, hedgeDelay*8)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+addr+"/v2/keys"+cfg.Prefix, nil)
	if err != nil {
		return false, err
	}
	if cfg.Username != "" {
		req.SetBasicAuth(cfg.Username, cfg.Password)
	}
	resp, err := client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, nil
	}
	var answer struct {
		Node *struct {
			Key string `json:"key"`
		} `json:"node"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 8<<20)).Decode(&answer); err != nil {
		return false, fmt.Errorf("%s: not an answer of etcd: %w", addr, err)
	}
	return answer.Node != nil, nil
}
