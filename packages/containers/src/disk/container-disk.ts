import { mkdir, open, readFile, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { RING_CAPACITY_BYTES, RING_HEADER_BYTES, ringHeader } from '../output/ring-format.js'
import { isRoot, run, works } from '../run.js'

const MIB = 1024 * 1024
const VCAP = 2000

/** Where a container may write, and nowhere else. All of it counts towards one limit, the ring of its output excepted. */
export interface ContainerDisk {
  readonly folder: string
  readonly tmp: string
  readonly varTmp: string
  /** For /home/vcap where no layer covers it. */
  readonly home: string
  readonly ring: string
  readonly layers: readonly { readonly upper: string; readonly work: string }[]
}

/** `limited`: a file system of its own in a sparse file, which only root can mount. `measured`: plain folders; somebody must look. */
export type DiskKind = 'limited' | 'measured'

export async function findDiskKind(wanted: DiskKind | undefined): Promise<{ kind: DiskKind; remark?: string }> {
  if (wanted === 'measured')
    return { kind: 'measured', remark: 'disk limits are measured, not enforced: set so by configuration' }
  if (!isRoot())
    return { kind: 'measured', remark: 'disk limits are measured, not enforced: only root can mount a file system per instance' }
  const tools = (await works('mkfs.ext4', ['-V'])) && (await works('losetup', ['--find']))
  if (tools) return { kind: 'limited' }
  return { kind: 'measured', remark: 'disk limits are measured, not enforced: mkfs.ext4 (e2fsprogs) or loop devices are missing' }
}

export const diskPaths = (folder: string, layers: number): ContainerDisk => {
  const root = join(folder, 'fs')
  return {
    folder,
    tmp: join(root, 'tmp'),
    varTmp: join(root, 'var-tmp'),
    home: join(root, 'home'),
    ring: join(root, 'log', 'ring'),
    layers: Array.from({ length: layers }, (_, i) => ({ upper: join(root, `upper${i}`), work: join(root, `work${i}`) })),
  }
}

/** Makes the disk, or finds it made. */
export async function makeDisk(
  folder: string,
  options: { kind: DiskKind; diskMb: number; layers: number },
): Promise<ContainerDisk> {
  const disk = diskPaths(folder, options.layers)
  if (await exists(join(folder, 'disk.json'))) return disk
  await removeDisk(folder)
  await mkdir(join(folder, 'fs'), { recursive: true, mode: 0o755 })
  try {
    // One shell for all steps: starting twelve programs one by one would cost more than what they do.
    await run('sh', ['-c', SCRIPT, 'make-disk', folder, options.kind, ...imageArguments(options.diskMb), String(options.layers)])
    const ring = await open(disk.ring, 'r+')
    try {
      await ring.write(ringHeader(), 0, 24, 0)
    } finally {
      await ring.close()
    }
    const free = options.kind === 'limited' ? await freeBytes(join(folder, 'fs')) : 0
    await writeFile(join(folder, 'disk.json'), JSON.stringify({ kind: options.kind, freeBytes: free }))
    return disk
  } catch (error) {
    await removeDisk(folder)
    throw error
  }
}

/** Bytes written to the disk since it was made. */
export async function diskUsage(folder: string): Promise<number> {
  const made = JSON.parse(await readFile(join(folder, 'disk.json'), 'utf8')) as { kind: DiskKind; freeBytes: number }
  const root = join(folder, 'fs')
  if (made.kind === 'limited') return Math.max(0, made.freeBytes - (await freeBytes(root)))
  // Files come and go while du looks; it complains and exits with 1 though the sum is good.
  const total = await run('sh', ['-c', 'du -s --block-size=1 --exclude=./log "$1" 2>/dev/null || true', 'du', root])
  return Number.parseInt(total, 10) || 0
}

/** Unmounts and removes it; nothing there is fine. */
export async function removeDisk(folder: string): Promise<void> {
  const root = join(folder, 'fs')
  if (await isMounted(root)) await run('umount', [root]).catch(() => run('umount', ['-l', root]))
  await rm(folder, { recursive: true, force: true, maxRetries: 3 })
}

export async function isMounted(path: string): Promise<boolean> {
  const mounts = await readFile('/proc/self/mounts', 'utf8').catch(() => '')
  const escaped = path.replaceAll('\\', '\\134').replaceAll(' ', '\\040')
  return mounts.split('\n').some((line) => line.split(' ')[1] === escaped)
}

/** Size of the image and its number of inodes, so that `diskMb` are left for the app when all of ours has its place. */
function imageArguments(diskMb: number): [string, string] {
  const inodes = Math.min(200_000, Math.max(16_384, diskMb * 256))
  const sizeMb = Math.ceil(diskMb * 1.01) + RING_CAPACITY_BYTES / MIB + Math.ceil((inodes * 256) / MIB) + 4
  return [String(sizeMb), String(inodes)]
}

async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path)
  return bavail * bsize
}

const exists = (path: string): Promise<boolean> =>
  statfs(path).then(
    () => true,
    () => false,
  )

/**
 * The log's folder belongs to root and its ring is allocated in full beforehand: the app can neither fill the place of its own log nor
 * grow it beyond the disk's limit. Without root everything is writable for all, since nothing can be given to vcap.
 */
const SCRIPT = `set -e
folder=$1 kind=$2 size=$3 inodes=$4 layers=$5
if [ "$kind" = limited ]; then
  truncate -s "\${size}M" "$folder/disk.img"
  mkfs.ext4 -q -F -m 0 -N "$inodes" -O ^has_journal,^resize_inode -E lazy_itable_init=1,nodiscard "$folder/disk.img"
  mount -o loop,nosuid,nodev,noatime,noinit_itable "$folder/disk.img" "$folder/fs"
  rmdir "$folder/fs/lost+found"
fi
cd "$folder/fs"
chmod 755 .
mkdir tmp var-tmp home log
chmod 1777 tmp var-tmp
chmod 755 log
i=0
while [ "$i" -lt "$layers" ]; do mkdir "upper$i" "work$i"; i=$((i + 1)); done
fallocate -l ${RING_CAPACITY_BYTES + RING_HEADER_BYTES} log/ring 2>/dev/null || truncate -s ${RING_CAPACITY_BYTES + RING_HEADER_BYTES} log/ring
if [ "$(id -u)" = 0 ]; then
  chown ${VCAP}:${VCAP} home log/ring
  [ "$layers" = 0 ] || chown ${VCAP}:${VCAP} upper*
  chmod 600 log/ring
else
  chmod 777 home
  chmod 666 log/ring
  [ "$layers" = 0 ] || chmod 777 upper*
fi
`
