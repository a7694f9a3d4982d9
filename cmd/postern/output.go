package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/alecthomas/kong"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// writeJSON writes one object on one line.
func writeJSON(w io.Writer, v any) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	// The writers are standard output and error: when they are gone there is
	// nobody left to tell.
	_ = enc.Encode(v)
}

// plain is what an error says to a person: a call's status without gRPC's frame.
func plain(err error) string {
	var call interface {
		error
		GRPCStatus() *status.Status
	}
	if !errors.As(err, &call) {
		return err.Error()
	}
	st := call.GRPCStatus()
	message, reached := st.Message(), true
	if st.Code() == codes.Unavailable {
		message, reached = unframed(message)
	}
	text := strings.Replace(err.Error(), call.Error(), message, 1)
	if !reached {
		text += "\n(is a cluster running? `postern dev` starts one; --api or POSTERN_API says where it is)"
	}
	return text
}

// unframed takes gRPC's words off an error of its connection, and says whether
// the cluster was reached: one that was may be unavailable for reasons of its
// own, and says them.
func unframed(message string) (text string, reached bool) {
	const frame = "connection error: desc = "
	quoted, found := strings.CutPrefix(message, frame)
	if !found {
		return message, true
	}
	inner, err := strconv.Unquote(quoted)
	if err != nil {
		return message, false
	}
	return strings.TrimPrefix(inner, "transport: Error while dialing: "), false
}

// table writes rows in columns as wide as their widest cell.
func table(w io.Writer, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-len([]rune(cell))+2))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// bar draws done of total as a bar of the given width.
func bar(done, total, width int) string {
	if total <= 0 {
		return strings.Repeat("░", width)
	}
	full := min(width, done*width/total)
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// yamlResolver reads settings from a YAML file; a key that no flag has is an error.
func yamlResolver(r io.Reader) (kong.Resolver, error) {
	values := map[string]any{}
	if err := yaml.NewDecoder(r).Decode(&values); err != nil && err != io.EOF {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	return &yamlSettings{values: values}, nil
}

type yamlSettings struct {
	values map[string]any
}

// Validate refuses keys that no flag of any command has.
func (y *yamlSettings) Validate(app *kong.Application) error {
	known := map[string]bool{}
	var visit func(n *kong.Node)
	visit = func(n *kong.Node) {
		for _, f := range n.Flags {
			known[f.Name] = true
		}
		for _, c := range n.Children {
			visit(c)
		}
	}
	visit(app.Node)
	for key := range y.values {
		if !known[key] {
			return fmt.Errorf("configuration file: unknown key %q", key)
		}
	}
	return nil
}

// Resolve implements kong.Resolver. Kong would let a resolver win over the
// environment, so a variable that is set hides the file's value here.
func (y *yamlSettings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	v, ok := y.values[flag.Name]
	if !ok {
		return nil, nil
	}
	return v, nil
}
