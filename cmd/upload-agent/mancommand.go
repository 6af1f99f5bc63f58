package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"
)

func manCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:        "man",
		Usage:       "print the manual page",
		UsageText:   "upload-agent man",
		Description: "Read it with: upload-agent man | man -l -\nInstall it as upload-agent.1 in a folder man1 of the MANPATH.",
		Action: func(_ context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			if err := writeManual(io.out, newApp(io.in, io.out, io.err)); err != nil {
				return failure(fmt.Errorf("print manual: %w", err))
			}
			return nil
		},
	}
}

// manual writes a page in the language of man(7).
type manual struct{ strings.Builder }

// writeManual makes a page of the commands and their flags, which hold the help too.
func writeManual(out io.Writer, app *cli.Command) error {
	m := new(manual)
	m.line(`.\" The same as 'upload-agent help' says, made by 'upload-agent man'.`)
	m.line(".TH UPLOAD\\-AGENT 1")
	m.line(".SH NAME")
	m.line(`upload\-agent \- ` + roff(app.Usage))
	m.line(".SH SYNOPSIS")
	m.paragraph(app.UsageText)
	m.line(".SH DESCRIPTION")
	m.paragraph(app.Description)
	m.line(".SH OPTIONS")
	m.flags(app)
	m.line(".SH COMMANDS")
	eachCommand(app, func(path []string, cmd *cli.Command) {
		if len(path) > 0 && len(cmd.Commands) == 0 && cmd.Name != "help" && !cmd.Hidden {
			m.command(path, cmd)
		}
	})
	m.line(".SH CONFIGURATION FILE")
	m.paragraph("Its keys are the names of the options, without the dashes: at the top for all commands that have such an option, below\n" +
		"commands and the name of a command for that one. 'upload-agent schema config' prints what is allowed,\n" +
		"'upload-agent validate config FILE' checks a file, and 'upload-agent config show' tells what counts, and why.")
	m.line(".SH EXIT STATUS")
	for _, s := range manualStatuses {
		m.line(".TP")
		m.line(".B " + roff(s[0]))
		m.line(roff(s[1]))
	}
	_, err := io.WriteString(out, m.String())
	return err
}

var manualStatuses = [][2]string{
	{"the command's own", "of exec and simulate: the run is completed; 128 and n more if signal n ended the command"},
	{"0", "all is well"},
	{"1", "the command failed"},
	{"2", "the command line or an input file is wrong"},
	{"7", "the claim was lost; nothing was reported"},
	{"125", "of exec and simulate: the run could not be completed: its result is not stored, or not reported"},
	{"126, 127", "of exec and simulate: the command cannot be executed, or does not exist; the run is completed"},
}

func (m *manual) line(text string) { m.WriteString(text + "\n") }

// paragraph writes lines of text as one.
func (m *manual) paragraph(text string) {
	for line := range strings.Lines(text) {
		m.line(roff(strings.TrimSpace(line)))
	}
}

func (m *manual) command(path []string, cmd *cli.Command) {
	m.line(".SS " + roff(strings.Join(path, " ")))
	m.line(roff(cmd.Usage) + ".")
	m.line(".PP")
	m.line(".nf")
	m.paragraph(cmd.UsageText)
	m.line(".fi")
	if cmd.Description != "" {
		m.line(".PP")
		m.paragraph(cmd.Description)
	}
	m.flags(cmd)
}

// flags writes what each flag is for, its default, and its environment variable.
func (m *manual) flags(cmd *cli.Command) {
	for _, flag := range cmd.VisibleFlags() {
		doc, ok := flag.(cli.DocGenerationFlag)
		if !ok || slices.Contains(flag.Names(), "help") || slices.Contains(flag.Names(), "version") {
			continue
		}
		before, rest, _ := strings.Cut(doc.GetUsage(), "`")
		placeholder, after, quoted := strings.Cut(rest, "`")
		usage, value := roff(before), ""
		if quoted {
			usage += `\fI` + roff(placeholder) + `\fP` + roffInside(after)
			value = ` \fI` + roff(placeholder) + `\fP`
		} else if doc.TakesValue() {
			value = ` \fI` + roff(strings.ToUpper(doc.TypeName())) + `\fP`
		}
		var names []string
		for _, name := range flag.Names() {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			names = append(names, `\fB`+roff(dashes+name)+`\fP`+value)
		}
		m.line(".TP")
		m.line(strings.Join(names, ", "))
		m.line(strings.TrimSuffix(usage, ".") + ".")
		if text := defaultOf(flag, doc); text != "" {
			m.line(roff("Default: " + text + "."))
		}
		if variables := doc.GetEnvVars(); len(variables) > 0 {
			m.line(roff("Environment: " + strings.Join(variables, ", ") + "."))
		}
	}
}

func defaultOf(flag cli.Flag, doc cli.DocGenerationFlag) string {
	if required, ok := flag.(cli.RequiredFlag); ok && required.IsRequired() {
		return ""
	}
	if !doc.IsDefaultVisible() || !doc.TakesValue() {
		return ""
	}
	if text := doc.GetDefaultText(); text != "" {
		return text
	}
	return doc.GetValue()
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "^", `\(ha`, "~", `\(ti`, "`", `\(ga`)

// roffInside is text as it is, behind other text on a line.
func roffInside(text string) string { return roffEscapes.Replace(text) }

// roff is text as it is at the beginning of a line, where a dot would be a request.
func roff(text string) string {
	if strings.HasPrefix(text, ".") {
		return `\&` + roffInside(text)
	}
	return roffInside(text)
}
