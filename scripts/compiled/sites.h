/* Where compiled code looks something up by name, it remembers where it was found.
 *
 * The interpreter specialises such places while it runs ("inline caches": Deutsch and Schiffman,
 * POPL 1984; PEP 659): a field of a class with slots is read at its offset as long as the object's
 * class has the version it had; a global is taken again as long as its dictionary has.  What mypyc
 * makes looks up anew each time, which costs more than compiling gains.  These are the same
 * conditions as CPython's LOAD_ATTR_SLOT, STORE_ATTR_SLOT and LOAD_GLOBAL, and everything else goes
 * the way that it went without them.  One thread at a time, as the interpreter's lock has it.
 */
#ifndef POINTSMAN_SITES_H
#define POINTSMAN_SITES_H

#include <Python.h>
#include <structmember.h>
#include <CPy.h>

#if PY_VERSION_HEX >= 0x030D0000
#error "versions of dictionaries are CPython's up to 3.12"
#endif

/* A name is kept with its place, since a place can be asked for others (getattr).  It is owned, or
 * another one could come to lie where it lay.  Names in the source are interned; others are not
 * remembered. */
static int is_in_source(PyObject *name) {
    return PyUnicode_CheckExact(name) && PyUnicode_CHECK_INTERNED(name);
}

typedef struct {
    PyTypeObject *type;
    unsigned int version;
    Py_ssize_t offset;
    PyObject *name;
} FieldSite;

/* Remember where objects of this type keep a field, if it is a slot that may be used directly. */
static void field_remember(FieldSite *site, PyTypeObject *type, PyObject *name) {
    PyObject *found = _PyType_Lookup(type, name);
    if (found == NULL || Py_TYPE(found) != &PyMemberDescr_Type || !is_in_source(name))
        return;
    PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
    if (member->type != T_OBJECT_EX || (member->flags & (READONLY | PY_AUDIT_READ)))
        return;
    if (!PyType_IsSubtype(type, PyDescr_TYPE(found)))
        return;
    if (!PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG))
        return;
    site->type = type;
    site->version = type->tp_version_tag;
    site->offset = member->offset;
    Py_INCREF(name);
    Py_XSETREF(site->name, name);
}

static inline int field_is_known(FieldSite *site, PyTypeObject *type, PyObject *name) {
    return type == site->type && type->tp_version_tag == site->version && name == site->name;
}

static CPy_NOINLINE PyObject *field_find(PyObject *object, PyObject *name, FieldSite *site) {
    if (Py_TYPE(object)->tp_getattro == PyObject_GenericGetAttr)
        field_remember(site, Py_TYPE(object), name);
    return PyObject_GetAttr(object, name);
}

static inline PyObject *field_get(PyObject *object, PyObject *name, FieldSite *site) {
    if (likely(field_is_known(site, Py_TYPE(object), name))) {
        PyObject *value = *(PyObject **)((char *)object + site->offset);
        if (likely(value != NULL)) {
            Py_INCREF(value);
            return value;
        }
    }
    return field_find(object, name, site);
}

static CPy_NOINLINE int field_put(PyObject *object, PyObject *name, PyObject *value, FieldSite *site) {
    if (Py_TYPE(object)->tp_setattro == PyObject_GenericSetAttr)
        field_remember(site, Py_TYPE(object), name);
    return PyObject_SetAttr(object, name, value);
}

static inline int field_set(PyObject *object, PyObject *name, PyObject *value, FieldSite *site) {
    if (likely(value != NULL && field_is_known(site, Py_TYPE(object), name))) {
        PyObject **place = (PyObject **)((char *)object + site->offset), *before = *place;
        Py_INCREF(value);
        *place = value;
        Py_XDECREF(before);
        return 0;
    }
    return field_put(object, name, value, site);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* of 3.12: still kept there, not after */

typedef struct {
    PyObject *key;          /* owned */
    PyObject *dict, *value; /* borrowed: they live as long as the version is the same */
    uint64_t version;       /* of all dictionaries no two ever have the same */
} EntrySite;

static CPy_NOINLINE PyObject *entry_find(PyObject *dict, PyObject *key, EntrySite *site) {
    PyObject *value = CPyDict_GetItem(dict, key);
    if (value != NULL && PyDict_CheckExact(dict) && is_in_source(key)) {
        Py_INCREF(key);
        Py_XSETREF(site->key, key);
        site->dict = dict;
        site->value = value;
        site->version = ((PyDictObject *)dict)->ma_version_tag;
    }
    return value;
}

static inline PyObject *entry_get(PyObject *dict, PyObject *key, EntrySite *site) {
    if (likely(dict == site->dict && key == site->key &&
               ((PyDictObject *)dict)->ma_version_tag == site->version)) {
        Py_INCREF(site->value);
        return site->value;
    }
    return entry_find(dict, key, site);
}

#pragma GCC diagnostic pop

#undef CPyObject_GetAttr
#define CPyObject_GetAttr(object, name) \
    ({ static FieldSite site; field_get((object), (name), &site); })
#define PyObject_SetAttr(object, name, value) \
    ({ static FieldSite site; field_set((object), (name), (value), &site); })
#define CPyDict_GetItem(dict, key) \
    ({ static EntrySite site; entry_get((dict), (key), &site); })

#endif
