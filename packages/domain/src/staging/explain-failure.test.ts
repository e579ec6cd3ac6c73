import { describe, expect, it } from '@jest/globals'
import { explainFailure, type StagingEnd } from './explain-failure.js'

const LIMITS = { memoryMb: 1024, diskMb: 4096, timeoutMs: 900_000, processes: 1024 }
const explained = (end: Partial<StagingEnd>) =>
  explainFailure({ exitCode: 1, outOfMemory: false, lines: [], ...end }, LIMITS) ?? { class: 'none' }

describe('the explanation of a failed staging', () => {
  it('is none where nothing failed', () => {
    expect(explained({ exitCode: 0 })).toEqual({ class: 'none' })
  })

  it.each<[string, Partial<StagingEnd>, Record<string, unknown>]>([
    ['nothing detected', { exitCode: 222 }, { class: 'NoAppDetectedError', cause: 'nothing-detected' }],
    [
      'no such runtime',
      { exitCode: 223, lines: ["no version of node matches '99.x'. Available: 26.10.0, 24.21.0", 'Failed to compile droplet'] },
      { class: 'BuildpackCompileFailed', cause: 'runtime-version' },
    ],
    [
      'what is no version',
      {
        exitCode: 223,
        lines: ["**ERROR** Unable to install node: 'newest' is not a version range for node; write for example 22.x"],
      },
      { cause: 'runtime-version', nextStep: expect.stringMatching(/^Write a version of node in place of 'newest'/) },
    ],
    [
      'pip: a line that is none',
      {
        exitCode: 223,
        lines: [
          "ERROR: Invalid requirement: 'what ever' (from line 3 of /tmp/app/requirements.txt)",
          "**ERROR** pip could not install the app's packages; its output above says why",
        ],
      },
      { cause: 'script-exit', nextStep: "Mend line 3 of requirements.txt: pip cannot read 'what ever'." },
    ],
    [
      'maven: a pom that is no XML',
      { exitCode: 223, lines: ['[FATAL] Non-readable POM /tmp/app/pom.xml: no more data', '**ERROR** mvn failed'] },
      { cause: 'script-exit', nextStep: expect.stringMatching(/^pom\.xml cannot be read/) },
    ],
    [
      'maven: code that does not compile',
      {
        exitCode: 223,
        lines: ['[ERROR] COMPILATION ERROR :', '**ERROR** mvn failed with exit status 1; its output above says why.'],
      },
      { cause: 'script-exit', nextStep: expect.stringMatching(/lines with \[ERROR\] say where/) },
    ],
    [
      'go: code that does not compile',
      { exitCode: 223, lines: ['# x.org/x', './main.go:2:19: syntax error: unexpected }', '**ERROR** go install failed'] },
      { cause: 'script-exit', nextStep: expect.stringMatching(/\(main\.go:2: syntax error: unexpected \}\)/) },
    ],
    [
      'an own buildpack that points to what came before',
      { exitCode: 223, lines: ['something', '**ERROR** bundle install failed with exit status 5; its output above says why.'] },
      { cause: 'script-exit', nextStep: expect.stringMatching(/^The lines before/) },
    ],
    [
      'a buildpack without bin',
      { exitCode: 225, lines: ['Failed to run all supply scripts: malformed buildpack does not contain a /bin dir: mine'] },
      { class: 'StagingError', cause: 'buildpack-unavailable', nextStep: expect.stringMatching(/^mine has to hold bin\//) },
    ],
    [
      'a buildpack that cannot supply',
      {
        exitCode: 225,
        lines: ['Error: one of the buildpacks chosen to supply dependencies does not support multi-buildpack apps'],
      },
      { class: 'StagingError', cause: 'buildpack-unavailable', nextStep: expect.stringMatching(/needs bin\/supply/) },
    ],
    [
      'npm: no such package',
      { exitCode: 223, lines: ["npm error 404  'nope@1' is not in this registry."] },
      { cause: 'dependency-not-found', nextStep: expect.stringMatching(/^nope@1 was not found/) },
    ],
    [
      'pip: no such package',
      { exitCode: 223, lines: ['ERROR: No matching distribution found for nope==1'] },
      { cause: 'dependency-not-found', nextStep: expect.stringMatching(/^nope==1 was not found/) },
    ],
    ['go: no such module', { exitCode: 223, lines: ['go: module example.com/x: not found'] }, { cause: 'dependency-not-found' }],
    [
      'maven: no such artifact',
      { exitCode: 223, lines: ['[ERROR] Could not find artifact com.example:nope:jar:1.0 in central'] },
      { cause: 'dependency-not-found' },
    ],
    [
      'a lock file that is out of date',
      {
        exitCode: 223,
        lines: ['npm error `npm ci` can only install packages when your package.json and package-lock.json are in sync.'],
      },
      { cause: 'lock-file' },
    ],
    [
      'no network',
      { exitCode: 223, lines: ['npm error network request to https://x failed, reason: getaddrinfo ENOTFOUND x'] },
      { cause: 'network-refused' },
    ],
    [
      'a strange authority',
      { exitCode: 223, lines: ['SSL certificate problem: self-signed certificate'] },
      { cause: 'certificate' },
    ],
    [
      'a buildpack that cannot be cloned',
      { exitCode: 1, lines: ['Failed to clone git repository at https://x/y'] },
      { class: 'StagingError', cause: 'buildpack-unavailable' },
    ],
    [
      "a buildpack's address that nobody answers at",
      {
        exitCode: 1,
        lines: [
          "fatal: unable to access 'https://x/y.git/': Failed to connect to x port 443",
          'Failed to clone git repository at https://x/y.git',
        ],
      },
      {
        class: 'StagingError',
        cause: 'buildpack-unavailable',
        nextStep: expect.stringMatching(/address \(https:\/\/x\/y\.git\), .*reaches it/),
      },
    ],
    [
      "a buildpack's zip that cannot be had",
      { exitCode: 1, lines: ["Failed to download buildpack 'https://x/y.zip': <urlopen error [Errno 111] Connection refused>"] },
      { cause: 'buildpack-unavailable', nextStep: expect.stringContaining('(https://x/y.zip)') },
    ],
    [
      'a silent download',
      {
        exitCode: 223,
        lines: ['-----> Download go', 'Failed to compile droplet: Failed to run all supply scripts: exit status 6'],
      },
      { cause: 'network-refused' },
    ],
    [
      'pip that reaches no index',
      {
        exitCode: 223,
        lines: [
          "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError(…)': /simple/x/",
          'ERROR: No matching distribution found for x==1',
        ],
      },
      { cause: 'network-refused' },
    ],
    [
      'no source of a runtime in reach',
      { exitCode: 223, lines: ["no version of dotnet-sdk matches '8.0.x'. None is available here", 'Not reached: https://x'] },
      { cause: 'network-refused', nextStep: expect.stringMatching(/^No source of dotnet-sdk/) },
    ],
    [
      'no way to the gems',
      { exitCode: 223, lines: ['Could not reach host index.rubygems.example. Check your network connection'] },
      { cause: 'network-refused' },
    ],
    [
      'no way to Composer’s index, wrapped as Composer does it',
      { exitCode: 223, lines: ['curl error 7 while downloading http://x/packages.json: Failed to', 'connect to x port 9'] },
      { cause: 'network-refused' },
    ],
    [
      'no way to Gradle',
      { exitCode: 223, lines: ['Exception in thread "main" java.net.UnknownHostException: gradle.example'] },
      { cause: 'network-refused' },
    ],
    [
      'a script of package.json',
      { exitCode: 223, lines: ['**ERROR** the script heroku-postbuild of package.json failed with exit status 3; its output …'] },
      { cause: 'script-exit', nextStep: expect.stringMatching(/ended with 3\..*npm run heroku-postbuild/) },
    ],
    [
      'what a buildpack says itself',
      { exitCode: 223, lines: ["       **ERROR** root in Staticfile names the folder 'nowhere', which was not pushed"] },
      { cause: 'script-exit', nextStep: expect.stringContaining('**ERROR**') },
    ],
    ['a script that fails', { exitCode: 223, lines: ['broken', 'exit status 7'] }, { cause: 'script-exit' }],
    ['release', { exitCode: 224 }, { class: 'BuildpackReleaseFailed', cause: 'release-failed' }],
    [
      'the kernel ended it',
      { exitCode: 223, outOfMemory: true, memoryVictim: { process: 'python3', wantedMb: 1800 } },
      {
        class: 'StagingError',
        cause: 'out-of-memory',
        sentence:
          'Staging error: staging needed more than its 1024 MB of memory and was ended (out of memory; python3 had asked for 1800 MB)',
        nextStep: expect.stringContaining('cf push -m 2304M'),
      },
    ],
    [
      'Node ended itself',
      { exitCode: 223, lines: ['FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory'] },
      { cause: 'out-of-memory', nextStep: expect.stringContaining('2048M') },
    ],
    ['time', { exitCode: 137, endedFor: 'time' }, { cause: 'out-of-time', sentence: expect.stringContaining('900 seconds') }],
    ['disk', { exitCode: 137, endedFor: 'disk' }, { cause: 'out-of-disk', sentence: expect.stringContaining('4096 MB') }],
    ['one file too large', { exitCode: 153 }, { cause: 'out-of-disk' }],
    ['a write that found no space', { exitCode: 223, lines: ['cp: No space left on device'] }, { cause: 'out-of-disk' }],
    ['the machine is full', { exitCode: 137, endedFor: 'machine-disk' }, { cause: 'machine-disk' }],
    [
      'a fork bomb',
      { exitCode: 137, endedFor: 'processes' },
      { cause: 'out-of-processes', sentence: expect.stringContaining('1024') },
    ],
    [
      'no more processes',
      { exitCode: 223, lines: ['bash: fork: retry: Resource temporarily unavailable'] },
      { cause: 'out-of-processes' },
    ],
  ])('%s', (_name, end, expected) => {
    expect(explained(end)).toMatchObject({ nextStep: expect.stringMatching(/\S/), ...expected })
  })

  it('shows the telling line with its neighbours, and the last ones, twenty in all', () => {
    const lines = Array.from({ length: 100 }, (_, i) =>
      i === 30 ? 'ERROR: No matching distribution found for nope' : `line ${i}`,
    )
    const { lastLines } = explainFailure({ exitCode: 223, outOfMemory: false, lines }, LIMITS)!
    expect(lastLines).toHaveLength(20)
    expect(lastLines.slice(0, 4)).toEqual(['line 28', 'line 29', lines[30], 'line 31'])
    expect(lastLines.at(-1)).toBe('line 99')
  })
})
