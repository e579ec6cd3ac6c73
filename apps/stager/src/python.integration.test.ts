import { describeWithDocker } from '@bloomery/testing'
import { withStaging } from './staging-under-test.fixture.js'
import { type Files } from './testing.fixture.js'

const serve = (says: string) =>
  'import os\nfrom wsgiref.simple_server import make_server\n' +
  `def app(e, s):\n    s("200 OK", [])\n    return [str(${says}).encode()]\n` +
  'def main():\n    make_server("", int(os.environ["PORT"]), app).serve_forever()\n'
const SETTINGS = [
  'from pathlib import Path',
  'BASE = Path(__file__).resolve().parent.parent',
  'SECRET_KEY = "x"',
  'ALLOWED_HOSTS = ["*"]',
  'ROOT_URLCONF = "site_of_ours.urls"',
  'INSTALLED_APPS = ["django.contrib.staticfiles"]',
  'STATIC_URL = "/static/"',
  'STATIC_ROOT = BASE / "collected"',
  'STATICFILES_DIRS = [BASE / "assets"]',
].join('\n')
const DJANGO: Files = {
  'requirements.txt': 'Django==4.2.16\ngunicorn==23.0.0\n',
  Procfile: 'web: gunicorn site_of_ours.wsgi\n',
  'manage.py':
    'import os, sys\nos.environ["DJANGO_SETTINGS_MODULE"] = "site_of_ours.settings"\nfrom django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n',
  'site_of_ours/__init__.py': '',
  'site_of_ours/settings.py': SETTINGS,
  'site_of_ours/urls.py':
    'from django.conf import settings\nfrom django.http import HttpResponse\nfrom django.urls import path\nurlpatterns = [path("", lambda request: HttpResponse("django " + ((settings.STATIC_ROOT / "own.css").read_text() if settings.STATIC_ROOT.exists() else "uncollected")))]\n',
  'site_of_ours/wsgi.py':
    'import os\nos.environ["DJANGO_SETTINGS_MODULE"] = "site_of_ours.settings"\nfrom django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n',
  'assets/own.css': 'collected',
}

// Long, and each needs its language's sources: with the longer suites only.
const suite = process.env['BLOOMERY_TEST_FULL'] === '1' ? await describeWithDocker() : describe.skip
suite('the ways of Python', () => {
  const staging = withStaging(['python_buildpack'])
  const { answer } = staging

  it('setup.py alone: its requirements, its program, and its code in C', async () => {
    const { text, log } = await answer({
      files: {
        'setup.py':
          'from setuptools import Extension, setup\nsetup(name="a", version="1", packages=["a"], install_requires=["itsdangerous==2.2.0"],\n' +
          '  ext_modules=[Extension("a.answer", ["answer.c"])], entry_points={"console_scripts": ["serve = a:main"]})\n',
        'a/__init__.py': serve('f"{itsdangerous.__name__} {answer.value()}"').replace(
          'import os\n',
          'import os\nimport itsdangerous\nfrom a import answer\n',
        ),
        'answer.c':
          '#include <Python.h>\nstatic PyObject *value(PyObject *self, PyObject *arguments) { return PyLong_FromLong(42); }\n' +
          'static PyMethodDef methods[] = {{"value", value, METH_NOARGS, ""}, {0}};\nstatic struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "answer", "", -1, methods};\n' +
          'PyMODINIT_FUNC PyInit_answer(void) { return PyModule_Create(&module); }\n',
        Procfile: 'web: cd /home/vcap/tmp && serve\n',
      },
    })
    expect(log).toContain('Installing the app itself (setup.py)')
    expect(text).toMatch(/^itsdangerous 42/)
  }, 240_000)

  it('a locked app with a src folder is installed beside its packages; pip of a version', async () => {
    const { text, log } = await answer({
      files: {
        'pyproject.toml':
          '[project]\nname = "a"\nversion = "1"\ndependencies = ["itsdangerous"]\n[project.scripts]\nserve = "a:main"\n[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
        'poetry.lock': '[[package]]\nname = "itsdangerous"\nversion = "2.1.2"\ngroups = ["main"]\nfiles = []\n',
        'src/a/__init__.py': serve('importlib.metadata.version("itsdangerous")').replace(
          'import os\n',
          'import os\nimport importlib.metadata\n',
        ),
        Procfile: 'web: serve\n',
      },
      environment: { BP_PIP_VERSION: '24.3.1' },
    })
    expect(log).toMatch(/Installing packages \(poetry\.lock\)[\s\S]*Installing the app itself \(pyproject\.toml\)/)
    expect(text).toMatch(/^2\.1\.2/)
  }, 240_000)

  it('an app that its requirements install as it lies', async () => {
    const { text } = await answer({
      files: {
        'requirements.txt': '-e .\n',
        'pyproject.toml':
          '[project]\nname = "a"\nversion = "1"\ndependencies = ["itsdangerous"]\n[project.scripts]\nserve = "a:main"\n[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
        'src/a/__init__.py': serve('itsdangerous.__name__ + " " + __file__').replace(
          'import os\n',
          'import os\nimport itsdangerous\n',
        ),
        Procfile: 'web: serve\n',
      },
    })
    expect(text).toMatch(/^itsdangerous \/home\/vcap\/app\/src\/a\/__init__\.py/)
  }, 240_000)

  it('Django: static files are gathered at the push, unless the app does not want it', async () => {
    const gathered = await answer({ files: DJANGO })
    expect(gathered.log).toMatch(/Running python manage\.py collectstatic --noinput[\s\S]*1 static file copied/)
    expect(gathered.text).toMatch(/^django collected/)
    const without = await answer({ files: DJANGO, environment: { DISABLE_COLLECTSTATIC: '1' } })
    expect(without.log).not.toContain('collectstatic')
    expect(without.text).toMatch(/^django uncollected/)
  }, 300_000)
})
