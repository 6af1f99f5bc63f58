package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/taskcluster/upload-agent/cmd/upload-agent/internal/config"
)

func deployed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// graceOf is the value of --grace on a command line.
func graceOf(t *testing.T, args []string) time.Duration {
	t.Helper()
	i := slices.Index(args, "--grace")
	if i < 0 {
		t.Fatalf("no --grace in %q", args)
	}
	grace, err := time.ParseDuration(args[i+1])
	if err != nil {
		t.Fatal(err)
	}
	return grace
}

func TestDeployedConfiguration(t *testing.T) {
	if _, err := config.Parse("config.yaml", []byte(deployed(t, "config.yaml"))); err != nil {
		t.Error(err)
	}
}

// unitSettings are the values of each setting of a unit, in their order.
func unitSettings(unit string) map[string][]string {
	all := map[string][]string{}
	for line := range strings.Lines(unit) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			all[name] = append(all[name], value)
		}
	}
	return all
}

func TestUnit(t *testing.T) {
	unit := deployed(t, "upload-agent.service")
	s := unitSettings(unit)
	if !slices.Equal(s["Type"], []string{"notify"}) || len(s["WatchdogSec"]) != 1 {
		t.Errorf("Type %q, WatchdogSec %q", s["Type"], s["WatchdogSec"])
	}
	stop, err := strconv.Atoi(s["TimeoutStopSec"][0])
	if grace := graceOf(t, strings.Fields(s["ExecStart"][0])); err != nil || time.Duration(stop)*time.Second <= grace+15*time.Second {
		t.Errorf("TimeoutStopSec %v, %v: hardly more than --grace %v", s["TimeoutStopSec"], err, grace)
	}

	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		const missing = "NO SYSTEMD-ANALYZE ON THIS MACHINE: the unit is not verified. Install it: apt-get install systemd"
		if os.Getenv("UPLOAD_AGENT_REQUIRE_REAL") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "upload-agent.service")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(unit, "/usr/local/bin/upload-agent", program)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// 0 is a service that may do nothing at all, 10 one that may do everything.
	if out, err := exec.Command(analyze, "security", "--offline=yes", "--threshold=20", "--no-pager", file).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// job is what of the manifest has to fit together.
type job struct {
	Spec struct {
		Template struct {
			Spec struct {
				Grace          int         `yaml:"terminationGracePeriodSeconds"`
				InitContainers []container `yaml:"initContainers"`
				Containers     []container
				Volumes        []struct{ Name string }
				Security       struct {
					NonRoot bool `yaml:"runAsNonRoot"`
				} `yaml:"securityContext"`
			}
		}
	}
}

type container struct {
	Name          string
	RestartPolicy string `yaml:"restartPolicy"`
	Args          []string
	Ports         []struct {
		Name string
		Port int `yaml:"containerPort"`
	}
	Startup   *probe                             `yaml:"startupProbe"`
	Readiness *probe                             `yaml:"readinessProbe"`
	Liveness  *probe                             `yaml:"livenessProbe"`
	Mounts    []struct{ Name, MountPath string } `yaml:"volumeMounts"`
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

func TestManifestFitsTogether(t *testing.T) {
	var j job
	if err := yaml.Unmarshal([]byte(deployed(t, "job.yaml")), &j); err != nil {
		t.Fatal(err)
	}
	pod := j.Spec.Template.Spec
	if len(pod.InitContainers) != 1 || pod.InitContainers[0].RestartPolicy != "Always" || !pod.Security.NonRoot {
		t.Fatalf("no native sidecar that is not root: %+v", pod)
	}
	sidecar := pod.InitContainers[0]
	if grace := graceOf(t, sidecar.Args); time.Duration(pod.Grace)*time.Second <= grace+30*time.Second {
		t.Errorf("the pod has %d s to end, the agent alone %v", pod.Grace, grace)
	}
	listen := sidecar.Args[slices.Index(sidecar.Args, "--listen")+1]
	if want := "0.0.0.0:" + strconv.Itoa(sidecar.Ports[0].Port); listen != want {
		t.Errorf("--listen %s, and the port is at %s", listen, want)
	}
	for path, p := range map[string]*probe{"/readyz": sidecar.Readiness, "/healthz": sidecar.Liveness} {
		if p == nil || p.HTTPGet.Path != path || p.HTTPGet.Port != sidecar.Ports[0].Name {
			t.Errorf("%s: %+v", path, p)
		}
	}
	if sidecar.Startup == nil || sidecar.Startup.HTTPGet.Path != "/readyz" {
		t.Error("the worker is started before the agent is ready")
	}
	volumes := map[string]int{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = 0
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		for _, m := range c.Mounts {
			if _, ok := volumes[m.Name]; !ok {
				t.Errorf("%s mounts %s, which is no volume", c.Name, m.Name)
			}
			volumes[m.Name]++
		}
	}
	if volumes["runs"] != 2 || volumes["state"] != 1 {
		t.Errorf("the run folders are for both, the state is for the agent alone: %v", volumes)
	}
}

func TestManifestAgainstSchema(t *testing.T) {
	file, err := os.ReadFile("testdata/deploy/job.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := validator.UnmarshalJSON(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource("job.json", parsed); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("job.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(manifest string) error {
		data, err := yaml.YAMLToJSON([]byte(manifest))
		if err != nil {
			t.Fatal(err)
		}
		v, err := validator.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		return compiled.Validate(v)
	}
	manifest := deployed(t, "job.yaml")
	if err := check(manifest); err != nil {
		t.Error(err)
	}
	for from, to := range map[string]string{
		"restartPolicy: Always": "restartPolicy: Sometimes", "runAsNonRoot: true": "runAsNonroot: true", "containerPort: 8453": "containerPort: high",
		"backoffLimit: 0": "backoffLimit: -1", "- name: worker": "- name: worker\n          restartPolicy: Always", "memory: 256Mi": "memory: 256MiB",
		"mountPath: /tmp": "mountPath: tmp", "apiVersion: batch/v1": "apiVersion: v1", "prometheus.io/scrape: \"true\"": "prometheus.io/scrape: true",
	} {
		if !strings.Contains(manifest, from) || check(strings.Replace(manifest, from, to, 1)) == nil {
			t.Errorf("the schema lets pass %q", to)
		}
	}
}

// The command lines of the unit and of the manifest are ones that there are.
func TestDeployedCommandLines(t *testing.T) {
	var j job
	if err := yaml.Unmarshal([]byte(deployed(t, "job.yaml")), &j); err != nil {
		t.Fatal(err)
	}
	unit := strings.Fields(unitSettings(deployed(t, "upload-agent.service"))["ExecStart"][0])[1:]
	for i, arg := range unit {
		unit[i] = strings.ReplaceAll(arg, "/etc/upload-agent/", "deploy/")
	}
	for _, args := range [][]string{unit, j.Spec.Template.Spec.InitContainers[0].Args} {
		all, err := runForSettings(context.Background(), args, &stdio{in: strings.NewReader(""), out: io.Discard, err: io.Discard})
		if err != nil {
			t.Errorf("%q: %v", args, err)
		}
		for _, one := range all {
			if one.Command != "sidecar" || one.Missing {
				t.Errorf("%q: %+v", args, one)
			}
		}
	}
}

func TestContainerfile(t *testing.T) {
	text := deployed(t, "Containerfile")
	for _, want := range []string{
		`(?m)^RUN CGO_ENABLED=0 go build .* \./cmd/upload-agent$`, `(?m)^FROM scratch$`, `(?m)^COPY --from=build /etc/ssl/certs/ca-certificates\.crt `,
		`(?m)^USER [1-9][0-9]*:[1-9][0-9]*$`, `(?m)^ENTRYPOINT \["/upload-agent"\]$`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("the Containerfile has no %s", want)
		}
	}
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	wanted := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(module)
	if !strings.Contains(text, "FROM golang:"+string(wanted[1])+" ") {
		t.Errorf("the Containerfile does not build with Go %s", wanted[1])
	}
}
