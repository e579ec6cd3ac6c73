import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'yaml'

/**
 * The one bash process that becomes the app: sources what buildpacks and the app put there, without stopping at failures, and then
 * executes the command. `$1` is the command, `$2` what stands for `bash -c` where a buildpack asks for it.
 */
const LAUNCHER = `
__command=$1 __prefix=$2
shift $#
cd "$HOME" || exit 1
mkdir -p "$TMPDIR" 2>/dev/null
if [ -z "$__command" ]; then echo "no start command specified or detected in droplet" >&2; exit 1; fi
echo "Invoking pre-start scripts."
for __script in /home/vcap/profile.d/* "$HOME"/.profile.d/* "$HOME"/.profile; do
  if [ -f "$__script" ]; then . "$__script"; fi
done
unset __script
echo "Invoking start command."
if [ -n "$__prefix" ]; then exec $__prefix "$__command"; fi
exec bash -c "$__command"
`

export interface LaunchInfo {
  readonly startCommand: string | undefined
  readonly entrypointPrefix: string | undefined
}

/** What the staging left in the droplet for its start: `staging_info.yml`, JSON from us and YAML from others. */
export async function readLaunchInfo(dropletFolder: string): Promise<LaunchInfo> {
  try {
    const info = parse(await readFile(join(dropletFolder, 'staging_info.yml'), 'utf8')) as {
      start_command?: unknown
      config?: { entrypoint_prefix?: unknown }
    } | null
    const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined)
    return { startCommand: text(info?.start_command), entrypointPrefix: text(info?.config?.entrypoint_prefix) }
  } catch {
    // A droplet without the file, or with a broken one, starts by its process's command alone.
    return { startCommand: undefined, entrypointPrefix: undefined }
  }
}

/** The container's command for a process. */
export const launchCommand = (command: string | null, info: LaunchInfo): string[] => [
  'bash',
  '-c',
  LAUNCHER,
  'launcher',
  command ?? info.startCommand ?? '',
  info.entrypointPrefix ?? '',
]
