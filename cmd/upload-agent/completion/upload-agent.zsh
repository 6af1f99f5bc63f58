#compdef upload-agent
# Completion of upload-agent for zsh. To have it: source <(upload-agent completion zsh)
_upload_agent() {
	local -a before found
	before=("${(@)words[2,CURRENT-1]}")
	if (( ${before[(Ie)--]} )); then # what follows is the command of a task
		_files
		return
	fi
	if [[ ${words[CURRENT]} == -* ]]; then before+=("${words[CURRENT]}"); fi
	found=("${(@f)$(UPLOAD_AGENT_COMPLETE=1 upload-agent "${before[@]}" --generate-shell-completion 2>/dev/null </dev/null)}")
	if [[ -n ${found[1]} ]]; then
		_describe upload-agent found
	else
		_files
	fi
}
if [[ ${funcstack[1]} == _upload_agent ]]; then
	_upload_agent "$@"
else
	compdef _upload_agent upload-agent
fi
