import { spawn } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { PassThrough, type Readable } from 'node:stream'
import { diskPaths, isMounted } from '../disk/container-disk.js'
import { EngineError } from '../engine.js'
import { isRoot, run } from '../run.js'
import type { KeptSpec } from './container-records.js'
import { confinedTo, VCAP } from './sandbox.js'

/** Root mounts an overlay for each layer; without root the layers are copied, the lowest first. */
export async function openLayers(folder: string, spec: KeptSpec): Promise<{ path: string; target: string }[]> {
  const disk = diskPaths(folder, spec.layers.length)
  const opened = []
  for (const [i, { lower, target }] of spec.layers.entries()) {
    const writable = disk.layers[i]
    if (writable === undefined) continue
    if (!isRoot()) {
      for (const layer of [...lower].reverse())
        await run('cp', ['-a', '--no-preserve=ownership', '--reflink=auto', `${layer}/.`, writable.upper])
      opened.push({ path: writable.upper, target })
      continue
    }
    const path = mergedPath(folder, i)
    await mkdir(path, { recursive: true })
    const options = `lowerdir=${lower.join(':')},upperdir=${writable.upper},workdir=${writable.work}`
    if (!(await isMounted(path))) await run('mount', ['-t', 'overlay', 'overlay', '-o', options, path])
    opened.push({ path, target })
  }
  return opened
}

export async function closeLayers(folder: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const merged = mergedPath(folder, i)
    if (await isMounted(merged)) await run('umount', [merged]).catch(() => run('umount', ['-l', merged]))
  }
}

/** A path inside, as a tar stream. `sandbox`: whether the reader is confined as the app is. */
export function readInside(given: {
  readonly name: string
  readonly folder: string
  readonly spec: KeptSpec
  readonly path: string
  readonly sandbox: boolean
}): Readable {
  const { name, spec, sandbox } = given
  const inside = resolve('/', given.path)
  const place = placeOf(given.folder, spec, inside)
  if (place === undefined) throw new EngineError('not-found', `${given.path} is not a place where ${name} keeps files`)
  // Confined like the app: a link that it made must not lead to what only the platform may read.
  const tar = (at: string) => ['tar', '-C', dirname(at), '-cf', '-', '--', basename(at)]
  const [program = '', ...args] = sandbox
    ? confinedTo(place.source, place.target, tar(inside))
    : tar(join(place.source, inside.slice(place.target.length)))
  const user = !sandbox && isRoot() ? { uid: VCAP, gid: VCAP } : {}
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...user })
  const stream = new PassThrough()
  let complaint = ''
  child.stderr.on('data', (part: Buffer) => (complaint += part.toString()))
  child.stdout.pipe(stream, { end: false })
  child.once('error', (error) => stream.destroy(error))
  child.once('close', (code) =>
    code === 0
      ? stream.end()
      : stream.destroy(new EngineError('not-found', `Could not read ${given.path} of ${name}: ${complaint.trim()}`)),
  )
  return stream
}

/** The folder of the machine that holds a path inside, and where it is seen. */
function placeOf(folder: string, spec: KeptSpec, path: string): { source: string; target: string } | undefined {
  const disk = diskPaths(folder, spec.layers.length)
  const places = [
    ...spec.mounts.map(({ source, target }) => ({ source, target })),
    ...spec.layers.map(({ target }, i) => ({
      source: isRoot() ? mergedPath(folder, i) : (disk.layers[i]?.upper ?? ''),
      target,
    })),
    { source: disk.varTmp, target: '/var/tmp' },
    { source: disk.tmp, target: '/tmp' },
    { source: disk.home, target: '/home/vcap' },
  ]
  const inside = places.filter(({ target }) => path === target || path.startsWith(`${target}/`))
  return inside.sort((a, b) => b.target.length - a.target.length)[0]
}

const mergedPath = (folder: string, layer: number): string => join(folder, `merged${layer}`)
