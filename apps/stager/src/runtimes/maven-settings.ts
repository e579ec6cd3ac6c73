import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { visitZip } from '@bloomery/archives'

const run = promisify(execFile)
const LIMITS = { maxEntries: 10_000, maxBytes: 64 * 1024 ** 2, maxRatio: 500 }

export interface MavenMirror {
  readonly id: string
  readonly url: string
  /** As Maven has it: `*`, `central`, `external:*`, `a,b`, `*,!c`. */
  readonly mirrorOf: string
}

/** The mirrors of a settings.xml, in their order; without those that stand for nothing but what Maven shall not reach. */
export function mirrorsIn(settings: string): MavenMirror[] {
  const text = settings.replaceAll(/<!--[\s\S]*?-->/g, '')
  return [...text.matchAll(/<mirror>([\s\S]*?)<\/mirror>/g)].flatMap(([, body = '']) => {
    if (element(body, 'blocked') === 'true') return []
    const id = element(body, 'id') ?? 'mirror'
    const url = element(body, 'url')
    return url === undefined ? [] : [{ id, url: url.replace(/\/$/, ''), mirrorOf: element(body, 'mirrorOf') ?? '' }]
  })
}

/** The mirror that stands for Maven's central repository, which is reached by HTTPS; one that names it comes before patterns. */
export const centralMirror = (mirrors: readonly MavenMirror[]): MavenMirror | undefined =>
  mirrors.find(({ mirrorOf }) => mirrorOf === 'central') ??
  mirrors.find(({ mirrorOf }) => {
    const names = mirrorOf.split(',').map((each) => each.trim())
    return !names.includes('!central') && ['*', 'central', 'external:*'].some((name) => names.includes(name))
  })

function element(body: string, name: string): string | undefined {
  const found = new RegExp(`<${name}>\\s*([^<]*?)\\s*</${name}>`).exec(body)?.[1]
  return found?.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')
}

/** Mirrors of this machine's Maven: of the user, and of the installation. */
export async function readMavenMirrors(home: string): Promise<readonly MavenMirror[]> {
  const installation = await mavenHome()
  const files = [join(home, '.m2/settings.xml'), ...(installation === undefined ? [] : [join(installation, 'conf/settings.xml')])]
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')))
  return texts.flatMap(mirrorsIn)
}

/** The address that this machine's Maven has for the central repository: a mirror's, else the one in the model that every project inherits. */
export async function centralRepository(home: string): Promise<string> {
  const mirror = centralMirror(await readMavenMirrors(home))
  if (mirror) return mirror.url
  const installation = await mavenHome()
  const model = installation === undefined ? undefined : await superModel(join(installation, 'lib'))
  const url = /<repository>[\s\S]*?<id>central<\/id>[\s\S]*?<url>\s*([^<\s]+)\s*<\/url>/.exec(model ?? '')?.[1]
  if (url === undefined)
    throw new Error('no Maven repository is known on this machine; name a mirror in ~/.m2/settings.xml, or install Maven')
  return url.replace(/\/$/, '')
}

async function mavenHome(): Promise<string | undefined> {
  try {
    const { stdout } = await run('mvn', ['-v', '-B'], { timeout: 20_000 })
    return /Maven home: (.+)/.exec(stdout)?.[1]?.trim()
  } catch {
    return undefined
  }
}

async function superModel(lib: string): Promise<string | undefined> {
  const jar = (await readdir(lib)).find((name) => /^maven-model-builder.*\.jar$/.test(name))
  if (jar === undefined) return undefined
  let text: string | undefined
  await visitZip(join(lib, jar), LIMITS, async (entry, open) => {
    if (/org\/apache\/maven\/model\/pom-4\.\d\.\d\.xml$/.test(entry.path)) text = (await buffer(await open())).toString('utf8')
  })
  return text
}
