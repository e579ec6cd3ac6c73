#!/usr/bin/env node
// Builds the stack image that apps are staged and run on, or finds that it is there already.
//   node stacks/build.mjs [--image bloomery/stack:bookworm] [--force]
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'

const folder = dirname(fileURLToPath(import.meta.url))
export const STACK_IMAGE = 'bloomery/stack:bookworm'
const BASE_IMAGE = 'debian:bookworm-slim'
const DIGEST_LABEL = 'bloomery.stack.digest'

/** A build of the stack that cannot go on; the message says what is missing and what to do. */
export class StackBuildError extends Error {
  name = 'StackBuildError'
}

/**
 * Makes sure that the stack image is there. Safe to call at every start: with an image of the same content it only looks.
 * @param {{image?: string, force?: boolean, env?: NodeJS.ProcessEnv, onProgress?: (line: string) => void, signal?: AbortSignal}} options
 * @returns {Promise<{image: string, digest: string, built: boolean}>}
 */
export async function buildStack({ image = STACK_IMAGE, force = false, env = process.env, onProgress = () => {}, signal } = {}) {
  const context = { env, onProgress, signal }
  const digest = await contentDigest()
  if (!force && (await imageLabel(image, context)) === digest) return { image, digest, built: false }
  await ensureBase(context)
  onProgress(`Building the stack image ${image} (a minute or two, once)`)
  const work = await mkdtemp(join(tmpdir(), 'bloomery-stack-'))
  try {
    await cp(join(folder, 'Dockerfile'), join(work, 'Dockerfile'))
    await mkdir(join(work, 'supervisor'))
    for (const name of await supervisorSources())
      await cp(join(folder, 'supervisor', name), join(work, 'supervisor', name), { recursive: true })
    await run(
      'docker',
      ['build', '--label', `${DIGEST_LABEL}=${digest}`, '--build-arg', `APT_OPTIONS=${await aptOptions(context)}`, '-t', image]
        .concat(
          ['http_proxy', 'https_proxy', 'no_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'].flatMap((name) =>
            env[name] ? ['--build-arg', name] : [],
          ),
        )
        .concat([work]),
      // BuildKit's own image may be out of reach; the classic builder is part of the engine.
      { ...context, env: { ...env, DOCKER_BUILDKIT: '0' } },
    )
  } finally {
    await rm(work, { recursive: true, force: true })
  }
  onProgress(`The stack image ${image} is ready`)
  return { image, digest, built: true }
}

async function supervisorSources() {
  const names = await readdir(join(folder, 'supervisor')).catch(() => [])
  return names.filter((name) => /\.[ch]$/.test(name)).sort()
}

/** What the image depends on: the Dockerfile and the programs that it compiles. */
async function contentDigest() {
  const hash = createHash('sha256')
  const paths = ['Dockerfile', ...(await supervisorSources()).map((name) => join('supervisor', name))]
  for (const path of paths) {
    if (!(await stat(join(folder, path))).isFile()) continue
    hash
      .update(`${path}\0`)
      .update(await readFile(join(folder, path)))
      .update('\0')
  }
  return hash.digest('hex')
}

async function imageLabel(image, context) {
  const found = await capture(
    'docker',
    ['image', 'inspect', '--format', `{{index .Config.Labels "${DIGEST_LABEL}"}}`, image],
    context,
  )
  return found.code === 0 ? found.output.trim() : undefined
}

/** The base image: present, or pulled, or made with debootstrap where no image registry can be reached. */
async function ensureBase(context) {
  if ((await capture('docker', ['image', 'inspect', BASE_IMAGE], context)).code === 0) return
  context.onProgress(`Fetching the base image ${BASE_IMAGE}`)
  const pulled = await capture('docker', ['pull', '--quiet', BASE_IMAGE], context)
  if (pulled.code === 0) return
  context.onProgress(`${BASE_IMAGE} cannot be pulled (${lastLine(pulled.output)}); making it with debootstrap`)
  if (process.getuid?.() !== 0)
    throw new StackBuildError(
      `The image ${BASE_IMAGE} can neither be pulled nor made: debootstrap needs root. Run "sudo node stacks/build.mjs" once, or load the image with "docker load".`,
    )
  if ((await capture('sh', ['-c', 'command -v debootstrap'], context)).code !== 0) await installDebootstrap(context)
  const work = await mkdtemp(join(tmpdir(), 'bloomery-base-'))
  try {
    const mirror = await debianMirror(context)
    await run('debootstrap', ['--variant=minbase', 'bookworm', join(work, 'root'), ...(mirror ? [mirror] : [])], context)
    await writeSources(join(work, 'root'), mirror, context)
    for (const left of ['var/cache/apt/archives', 'var/lib/apt/lists']) {
      await rm(join(work, 'root', left), { recursive: true, force: true })
      await mkdir(join(work, 'root', left, 'partial'), { recursive: true })
    }
    // As in the registry's slim image: of documentation nothing but the licences.
    const slim = 'cd "$1/usr/share" && find doc -type f ! -name copyright -delete && rm -rf man/* info/* locale/* lintian/*'
    await run('sh', ['-c', slim, 'sh', join(work, 'root')], context)
    await run(
      'sh',
      ['-c', `tar -C "$1" -c . | docker import --change 'CMD ["bash"]' - "$2"`, 'sh', join(work, 'root'), BASE_IMAGE],
      context,
    )
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function installDebootstrap(context) {
  if ((await capture('sh', ['-c', 'command -v apt-get'], context)).code !== 0)
    throw new StackBuildError(
      `The image ${BASE_IMAGE} cannot be pulled, and debootstrap is not installed. Install debootstrap, or load the image with "docker load".`,
    )
  context.onProgress('Installing debootstrap')
  await run('sh', ['-c', 'apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install debootstrap'], context)
}

/** The Debian mirrors that this machine uses, as "SITE RELEASE" lines; empty on other systems. */
async function hostIndexes(context) {
  const found = await capture(
    'apt-get',
    ['indextargets', '--format', '$(SITE) $(RELEASE) $(ORIGIN)', 'Identifier: Packages'],
    context,
  )
  if (found.code !== 0) return []
  const lines = found.output.split('\n').map((line) => line.trim().split(/\s+/))
  return lines.filter(
    ([site, release, origin]) => site?.startsWith('http') && release?.startsWith('bookworm') && origin === 'Debian',
  )
}

async function debianMirror(context) {
  return (await hostIndexes(context)).find(([, release]) => release === 'bookworm')?.[0]
}

/** The base shall know the updates and security suites that the machine itself uses. */
async function writeSources(root, mirror, context) {
  const indexes = await hostIndexes(context)
  if (!mirror || indexes.length === 0) return
  const lines = new Set(indexes.map(([site, release]) => `deb ${site} ${release} main`))
  await writeFile(join(root, 'etc/apt/sources.list'), [...lines, ''].join('\n'))
}

/** How this machine checks the age of its package lists (mirrors that are snapshots are old by nature). */
async function aptOptions(context) {
  const dump = await capture('apt-config', ['dump'], context)
  if (dump.code !== 0) return ''
  const wanted = /^(Acquire::Check-Valid-Until|Acquire::Check-Date) "([\w.-]*)";$/
  return dump.output
    .split('\n')
    .map((line) => wanted.exec(line))
    .filter(Boolean)
    .map(([, name, value]) => `-o ${name}=${value}`)
    .join(' ')
}

const lastLine = (text) => text.trim().split('\n').at(-1) ?? ''

function capture(command, args, { env, signal }) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { env, signal, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    child.stderr.on('data', (chunk) => (output += chunk))
    child.on('error', (error) => resolve({ code: 127, output: error.message }))
    child.on('close', (code) => resolve({ code: code ?? 1, output }))
  })
}

/** Runs to the end; the output is shown line by line as progress, and its tail becomes the error's text. */
function run(command, args, { env, signal, onProgress }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, signal, stdio: ['ignore', 'pipe', 'pipe'] })
    const tail = []
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (line) => {
        tail.push(line)
        if (tail.length > 15) tail.shift()
        onProgress(`  ${line}`)
      })
    child.on('error', (error) =>
      reject(
        new StackBuildError(error.code === 'ENOENT' ? `${command} is not installed; install it and start again.` : error.message),
      ),
    )
    child.on('close', (code) => {
      if (code === 0) resolve()
      else reject(new StackBuildError(`${command} ${args[0]} failed with status ${code}:\n${tail.join('\n')}`))
    })
  })
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const at = process.argv.indexOf('--image')
  const result = await buildStack({
    ...(at > 0 && { image: process.argv[at + 1] }),
    force: process.argv.includes('--force'),
    onProgress: (line) => console.log(line),
  }).catch((error) => {
    console.error(error instanceof StackBuildError ? error.message : error)
    process.exit(1)
  })
  console.log(`${result.image} ${result.built ? 'built' : 'is up to date'} (${result.digest.slice(0, 12)})`)
}
