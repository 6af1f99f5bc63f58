# Completion of upload-agent for bash 3.2 and later. To have it: source <(upload-agent completion bash)
_upload_agent() {
	local current=${COMP_WORDS[COMP_CWORD]} line word
	local -a before=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
	COMPREPLY=()
	for word in ${before[@]+"${before[@]}"}; do
		if [[ $word == -- ]]; then return; fi # what follows is the command of a task
	done
	if [[ $current == -* ]]; then before+=("$current"); fi
	while IFS= read -r line; do
		line=${line%%:*}
		if [[ -n $line && $line == "$current"* ]]; then COMPREPLY+=("$line"); fi
	done <<<"$(UPLOAD_AGENT_COMPLETE=1 upload-agent ${before[@]+"${before[@]}"} --generate-shell-completion 2>/dev/null </dev/null)"
}
complete -o bashdefault -o default -F _upload_agent upload-agent
