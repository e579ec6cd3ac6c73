import { existsSync, lstatSync, readlinkSync } from 'node:fs'
import { dirname } from 'node:path'
import type { ContainerDisk } from '../disk/container-disk.js'
import type { ContainerSpec, Mount } from '../engine.js'
import { isRoot, run } from '../run.js'

export const VCAP = 2000
/** Of the machine's settings only what programs need; the rest of /etc is nobody's business. */
const ETC = [
  'alternatives',
  'apache2',
  'ca-certificates',
  'java-17-openjdk',
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'localtime',
  'locale.alias',
  'magic',
  'maven',
  'mime.types',
  'nginx',
  'nsswitch.conf',
  'perl',
  'php',
  'protocols',
  'python3',
  'python3.11',
  'resolv.conf',
  'services',
  'ssl',
]

export interface SandboxPaths {
  readonly disk: ContainerDisk
  /** Mounted or copied layers, by target. */
  readonly layers: readonly { readonly path: string; readonly target: string }[]
  /** Folder of passwd, group and hosts as they are seen inside. */
  readonly etc: string
}

/** Root gives everything up right before the app begins; without root we are whoever we are, which is vcap inside. */
const dropPrivileges = (): string[] =>
  isRoot()
    ? [
        'setpriv',
        `--reuid=${VCAP}`,
        `--regid=${VCAP}`,
        '--clear-groups',
        '--no-new-privs',
        '--inh-caps=-all',
        '--bounding-set=-all',
        '--',
      ]
    : []

/**
 * Root makes the sandbox without a user namespace: its folders may lie where nobody else has a way, and kernels may forbid such namespaces.
 */
const asVcap = (): string[] => (isRoot() ? [] : ['--unshare-user', '--uid', String(VCAP), '--gid', String(VCAP)])

/** The arguments that confine a command by bubblewrap: its own view of the file system, processes, and names, and no way to privileges. */
export function sandboxed(spec: ContainerSpec, paths: SandboxPaths): string[] {
  const hasHome = [...paths.layers, ...spec.mounts].some(({ target }) => target === '/home/vcap')
  const at = (target: string) => spec.mounts.some((mount) => mount.target === target)
  return [
    'bwrap',
    ...asVcap(),
    ...['--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try'],
    ...['--hostname', spec.name.slice(0, 63)],
    ...['--die-with-parent', '--new-session', '--info-fd', '3'],
    ...machine(),
    ...parentsOf(['/etc/cf-system-certificates/system.crt']),
    ...ETC.flatMap((name) => ['--ro-bind-try', `/etc/${name}`, `/etc/${name}`]),
    ...['passwd', 'group', 'hosts'].flatMap((name) => ['--ro-bind', `${paths.etc}/${name}`, `/etc/${name}`]),
    ...['--ro-bind-try', '/etc/ssl/certs/ca-certificates.crt', '/etc/cf-system-certificates/system.crt'],
    ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/run', '--tmpfs', '/dev/shm'],
    ...parentsOf(['/var/tmp', '/home/vcap', ...[...paths.layers, ...spec.mounts].map(({ target }) => target)]),
    ...(at('/tmp') ? [] : ['--bind', paths.disk.tmp, '/tmp']),
    ...['--bind', paths.disk.varTmp, '/var/tmp'],
    ...(hasHome ? [] : ['--bind', paths.disk.home, '/home/vcap']),
    ...inDepthOrder([
      ...paths.layers.map(({ path, target }) => ({ source: path, target, readOnly: false })),
      ...spec.mounts,
    ]).flatMap(({ source, target, readOnly }) => [...foldersInTmp(target), readOnly ? '--ro-bind' : '--bind', source, target]),
    ...['--chdir', spec.workingDirectory ?? '/home/vcap', '--'],
    ...dropPrivileges(),
    ...limitProcesses(spec.pidsLimit),
    ...spec.command,
  ]
}

/** What is mounted at a folder would hide what has been mounted within it. */
const inDepthOrder = (mounts: readonly Mount[]): Mount[] =>
  mounts.toSorted((a, b) => a.target.split('/').length - b.target.split('/').length)

/** Those above a mount point in /tmp, which is there only once it is mounted itself. */
function foldersInTmp(target: string): string[] {
  const found: string[] = []
  for (let path = dirname(target); path.startsWith('/tmp/'); path = dirname(path)) found.unshift('--perms', '0755', '--dir', path)
  return found
}

/** Where there is no control group: the kernel counts a user's processes for each user namespace by itself. */
const limitProcesses = (limit: number): string[] =>
  isRoot() ? [] : ['sh', '-c', 'ulimit -u "$0" 2>/dev/null; exec "$@"', String(limit)]

/** Folders above mount points, which bubblewrap would make for their owner alone. */
function parentsOf(targets: readonly string[]): string[] {
  const parents = new Set<string>()
  for (const target of targets)
    for (let path = dirname(target); path !== '/'; path = dirname(path))
      if (!/^\/(usr|tmp|dev|proc)(\/|$)/.test(path)) parents.add(path)
  return [...parents].sort().flatMap((path) => ['--perms', '0755', '--dir', path])
}

/** The machine's programs, read-only; Debian's /bin and /lib are links into /usr, other systems have folders there. */
function machine(): string[] {
  const args = ['--ro-bind', '/usr', '/usr']
  for (const path of ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32']) {
    if (!existsSync(path)) continue
    if (lstatSync(path).isSymbolicLink()) args.push('--symlink', readlinkSync(path), path)
    else args.push('--ro-bind', path, path)
  }
  // A Node of one's own (nvm and the like), for buildpacks that are written in it.
  const node = dirname(dirname(process.execPath))
  if (!node.startsWith('/usr')) args.push('--ro-bind', node, node)
  return args
}

/** A command that sees the machine's programs and one folder, at the place where the app sees it. */
export const confinedTo = (source: string, target: string, command: readonly string[]): string[] => [
  'bwrap',
  ...asVcap(),
  ...['--unshare-pid', '--die-with-parent'],
  ...machine(),
  ...parentsOf([target]),
  ...['--proc', '/proc', '--dev', '/dev', '--ro-bind', source, target, '--'],
  ...dropPrivileges(),
  ...command,
]

/** A command without any confinement but an unprivileged user; paths under /home/vcap lead to where its files really are. */
export function unconfined(
  spec: ContainerSpec,
  paths: SandboxPaths,
): { command: string[]; environment: Record<string, string>; cwd: string } {
  const home = paths.layers.find(({ target }) => target === '/home/vcap')?.path ?? paths.disk.home
  const moved = (text: string) => text.replaceAll('/home/vcap', home)
  return {
    command: [...dropPrivileges(), ...spec.command.map(moved)],
    environment: Object.fromEntries(Object.entries(spec.environment).map(([name, value]) => [name, moved(value)])),
    cwd: moved(spec.workingDirectory ?? '/home/vcap'),
  }
}

/** Whether bubblewrap works here, tried for real: kernels and containers may forbid what it needs. */
export async function findSandbox(): Promise<{ works: boolean; remark?: string }> {
  const args = [...asVcap(), '--unshare-pid', '--ro-bind', '/', '/', '--proc', '/proc', '--', ...dropPrivileges(), 'true']
  try {
    await run('bwrap', args)
    return { works: true }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return {
      works: false,
      remark: `apps run without a sandbox: bubblewrap is missing or does not work here (${reason}); install it with: apt-get install bubblewrap`,
    }
  }
}
