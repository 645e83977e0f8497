/*
 * What the code that cffi writes needs of Python, for a Python that came without its header.
 *
 * Distributions keep Python.h in a package of its own (python3-dev), and a machine that can compile C
 * need not have it. The extension keeps to the stable ABI, in which these functions have had the same
 * signature since Python 3.2 and objects are opaque, so declaring them is enough: nothing here depends
 * on the version or on how Python was configured. Where Python brings its own header, the build
 * takes that one (see meson.build).
 *
 * https://docs.python.org/3/c-api/stable.html
 */
#ifndef BLASAD_ABI3_PYTHON_H
#define BLASAD_ABI3_PYTHON_H

#ifndef Py_LIMITED_API
#    error "this header knows the stable ABI only"
#endif

#include <alloca.h>
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <wchar.h>

#define HAVE_WCHAR_H 1
#define PyMODINIT_FUNC __attribute__((visibility("default"))) PyObject *

typedef ssize_t Py_ssize_t;
typedef struct _object PyObject;
typedef struct _ts PyThreadState;

extern PyObject _Py_NoneStruct;
#define Py_None (&_Py_NoneStruct)

void Py_IncRef(PyObject *);
void Py_DecRef(PyObject *);
/* The functions accept NULL: the X variants are the same. */
#define Py_INCREF(o) Py_IncRef((PyObject *)(o))
#define Py_DECREF(o) Py_DecRef((PyObject *)(o))
#define Py_XINCREF(o) Py_IncRef((PyObject *)(o))
#define Py_XDECREF(o) Py_DecRef((PyObject *)(o))

PyThreadState *PyEval_SaveThread(void);
void PyEval_RestoreThread(PyThreadState *);
#define Py_BEGIN_ALLOW_THREADS                                                                                         \
    {                                                                                                                  \
        PyThreadState *_save = PyEval_SaveThread();
#define Py_END_ALLOW_THREADS                                                                                           \
    PyEval_RestoreThread(_save);                                                                                       \
    }

void *PyObject_Malloc(size_t);
void PyObject_Free(void *);
PyObject *PyObject_CallMethod(PyObject *, const char *name, const char *format, ...);
int PyArg_UnpackTuple(PyObject *, const char *name, Py_ssize_t min, Py_ssize_t max, ...);
PyObject *PyImport_ImportModule(const char *);

PyObject *PyErr_Occurred(void);
_Noreturn void Py_FatalError(const char *);

PyObject *PyBool_FromLong(long);
PyObject *PyFloat_FromDouble(double);
double PyFloat_AsDouble(PyObject *);
PyObject *PyLong_FromLong(long);
PyObject *PyLong_FromUnsignedLong(unsigned long);
PyObject *PyLong_FromLongLong(long long);
PyObject *PyLong_FromUnsignedLongLong(unsigned long long);
PyObject *PyLong_FromVoidPtr(void *);

#endif
