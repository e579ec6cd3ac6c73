/** Whether what names a buildpack is an address to fetch it from (a git repository or a zip file) and not a buildpack's name. */
export function isBuildpackAddress(name: string): boolean {
  if (/^git@[\w.-]+:\S+$/.test(name)) return true
  return /^(?:https?|git|ssh):\/\/[^\s/]+\/\S*$/.test(name) && URL.canParse(name)
}
