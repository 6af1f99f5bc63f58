# Completion of upload-agent for fish. To have it: upload-agent completion fish | source
function __upload_agent_complete
    set -l before (commandline -opc)
    set -e before[1]
    if contains -- -- $before # what follows is the command of a task
        return
    end
    set -l current (commandline -ct)
    if string match -q -- '-*' "$current"
        set -a before "$current"
    end
    env UPLOAD_AGENT_COMPLETE=1 upload-agent $before --generate-shell-completion 2>/dev/null </dev/null | string replace : \t
end
complete -c upload-agent -a '(__upload_agent_complete)'
